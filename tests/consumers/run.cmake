# cmake -D PROJECT=<folder> -D BINARY=<folder> -D COMPONENTS=<a,b> -D GENERATOR=<name> -D SETTINGS=<file for cmake -C>
# [-D MESSAGE=<text>] -P run.cmake: configures the project anew, builds it, runs all its programs. With MESSAGE:
# configuring must fail and say that.
string(REPLACE "," ";" programs "core,${COMPONENTS}")
string(REPLACE "," "\\;" components "${COMPONENTS}")
file(REMOVE_RECURSE ${BINARY})

set(configure ${CMAKE_COMMAND} -G ${GENERATOR} -C ${SETTINGS} -S ${PROJECT} -B ${BINARY} "-DCOMPONENTS=${components}")
if(MESSAGE)
  execute_process(COMMAND ${configure} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_VARIABLE errors)
  string(REGEX REPLACE "[ \n]+" " " errors "${errors}")
  string(FIND "${errors}" "${MESSAGE}" position)
  if(NOT failed OR position EQUAL -1)
    message(FATAL_ERROR "configuring should have failed with \"${MESSAGE}\"; it said:\n${errors}")
  endif()
  return()
endif()

execute_process(COMMAND ${configure} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BINARY} COMMAND_ERROR_IS_FATAL ANY)
foreach(program IN LISTS programs)
  if(program)
    execute_process(COMMAND ${BINARY}/use_${program} COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
