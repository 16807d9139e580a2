# How this project makes its targets: library pushforward_<name> is pushforward::<name> in the build and after
# an install; the core alone is pushforward::pushforward.

# Warnings for a target of ours; none of it reaches those who link to it. Of what nvcc makes for the host compiler, those
# of -Wpedantic and some more are nvcc's own.
function(pushforward_warnings target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;-Wsign-conversion;-Wnon-virtual-dtor;\
-Woverloaded-virtual;-Wcast-qual;-Wformat=2>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow,-Wconversion>")
  if(PUSHFORWARD_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-Werror>"
      "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Werror>")
  endif()
endfunction()

# Stops with a message that names the package to install, unless `found` is true.
function(pushforward_need found what package)
  if(NOT found)
    message(FATAL_ERROR "${what} was asked for, but ${package} is missing.\n"
      "On Debian and Ubuntu: apt-get install ${package}   (scripts/setup.sh installs all that is needed)")
  endif()
endfunction()

# The part every library shares: alias, standard, public headers below `base`, install.
function(_pushforward_finish target scope base)
  string(REPLACE "pushforward_" "" name ${target})
  add_library(pushforward::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(${target} ${scope} cxx_std_20)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${base}/pushforward/*.hpp)
  file(GLOB_RECURSE device_headers CONFIGURE_DEPENDS ${base}/pushforward/*.cuh)
  get_filename_component(base ${base} ABSOLUTE)
  target_sources(${target} ${scope} FILE_SET HEADERS BASE_DIRS ${base} FILES ${headers})
  set(device_set "")
  if(device_headers)
    target_sources(${target} ${scope} FILE_SET device_headers TYPE HEADERS BASE_DIRS ${base} FILES ${device_headers})
    set_target_properties(${target} PROPERTIES INTERFACE_HEADER_SETS_TO_VERIFY HEADERS) # the others are nvcc's
    set(device_set FILE_SET device_headers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  endif()
  if(PUSHFORWARD_INSTALL)
    install(TARGETS ${target} EXPORT pushforward-${name} COMPONENT pushforward
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
      FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} ${device_set})
    install(EXPORT pushforward-${name} NAMESPACE pushforward:: COMPONENT pushforward
      DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pushforward)
  endif()
  set_property(GLOBAL APPEND PROPERTY pushforward_components ${name})
endfunction()

# pushforward_header_library(<target> <folder of headers> [<libraries to link>...])
function(pushforward_header_library target base)
  add_library(${target} INTERFACE)
  _pushforward_finish(${target} INTERFACE ${base})
  target_link_libraries(${target} INTERFACE ${ARGN})
endfunction()

# pushforward_library(<target> <folder of headers> SOURCES <file>... LIBRARIES <library>...)
function(pushforward_library target base)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_library(${target} ${arg_SOURCES})
  _pushforward_finish(${target} PUBLIC ${base})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(${target} PUBLIC ${arg_LIBRARIES})
  pushforward_warnings(${target})
endfunction()
