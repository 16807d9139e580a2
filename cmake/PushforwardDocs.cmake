# `cmake --build <folder> --target docs` writes the reference to <folder>/docs/html; a warning is an error.
find_program(doxygen_program doxygen)
mark_as_advanced(doxygen_program)
if(doxygen_program AND EXISTS ${PROJECT_SOURCE_DIR}/docs/Doxyfile)
  add_custom_target(docs
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/docs
    COMMAND ${CMAKE_COMMAND} -E env PUSHFORWARD_VERSION=${PROJECT_VERSION} PUSHFORWARD_DOCS=${PROJECT_BINARY_DIR}/docs
      ${doxygen_program} ${PROJECT_SOURCE_DIR}/docs/Doxyfile
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
endif()
