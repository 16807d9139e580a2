# cmake -D COMPILER=<path> -D PROGRAM=<file> -D INCLUDE=<folder;folder> -P run.cmake: compiles the program, and compares
# the errors with those its comments `// error: <text>` announce.
list(TRANSFORM INCLUDE PREPEND -I)
set(options "")
execute_process(COMMAND ${COMPILER} --version OUTPUT_VARIABLE version)
if(version MATCHES clang)
  set(options -ferror-limit=0) # it would stop after 20
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${COMPILER} -std=c++20 -fsyntax-only ${options} ${INCLUDE} ${PROGRAM}
  RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)

# Lines with brackets or semicolons would not survive as items of a CMake list.
string(REGEX REPLACE "[][;\\]" " " output "${output}")
string(REGEX MATCHALL "[^\n]*error: [^\n]*" errors "${output}")
file(STRINGS ${PROGRAM} expected REGEX "// error: ")
list(TRANSFORM expected REPLACE ".*// error: " "")

list(LENGTH errors found)
list(LENGTH expected wanted)
if(NOT found EQUAL wanted OR (failed AND NOT wanted))
  message(FATAL_ERROR "${found} errors where ${wanted} were to be:\n${output}")
endif()
foreach(text IN LISTS expected)
  set(at -1)
  foreach(error IN LISTS errors)
    string(FIND "${error}" "${text}" position)
    if(NOT position EQUAL -1)
      list(FIND errors "${error}" at)
      break()
    endif()
  endforeach()
  if(at EQUAL -1)
    message(FATAL_ERROR "no error says \"${text}\":\n${output}")
  endif()
  list(REMOVE_AT errors ${at}) # each announced error has one of its own
endforeach()
