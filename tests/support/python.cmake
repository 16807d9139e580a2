# cmake [-D SKIP=ON] -P tests/support/python.cmake SCRIPT [ARGUMENT...]: runs a script with a Python that has the
# packages of scripts/oracles.txt. That is the one in the environment variable PUSHFORWARD_ORACLES_PYTHON (in any version
# of the packages), else the one that scripts/setup.sh --ci makes, else python3. Fails where there is none; with SKIP
# only says so.

set(packages ${CMAKE_CURRENT_LIST_DIR}/../../scripts/oracles.txt)
set(check "
import importlib.metadata, sys
for line in open(sys.argv[1]):
    name, _, wanted = line.strip().partition('==')
    found = importlib.metadata.version(name).split('+')[0]
    if sys.argv[2] == 'pinned' and wanted not in ('', found):
        sys.exit(f'{name} is {found}, not {wanted}')
")

if(DEFINED ENV{PUSHFORWARD_ORACLES_PYTHON})
  set(candidates "$ENV{PUSHFORWARD_ORACLES_PYTHON}")
  set(versions any)
else()
  set(cache "$ENV{HOME}/.cache/pushforward")
  if(DEFINED ENV{XDG_CACHE_HOME})
    set(cache "$ENV{XDG_CACHE_HOME}/pushforward")
  endif()
  if(DEFINED ENV{PUSHFORWARD_CACHE})
    set(cache "$ENV{PUSHFORWARD_CACHE}")
  endif()
  set(candidates "${cache}/oracles/bin/python3" python3)
  set(versions pinned)
endif()
set(python "")
foreach(candidate IN LISTS candidates)
  if(NOT python)
    execute_process(COMMAND "${candidate}" -c "${check}" ${packages} ${versions} RESULT_VARIABLE lacks OUTPUT_QUIET ERROR_QUIET)
    if(lacks EQUAL 0)
      set(python "${candidate}")
    endif()
  endif()
endforeach()

if(NOT python)
  list(JOIN candidates " nor " candidates)
  set(reason "no Python with the packages of scripts/oracles.txt (not ${candidates}); scripts/setup.sh --ci installs them")
  if(SKIP)
    message("skipped: ${reason}")
    return()
  endif()
  message(FATAL_ERROR "${reason}")
endif()

set(command "")
set(script_seen FALSE)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE 1 ${last})
  if(script_seen)
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "-P")
    set(script_seen TRUE)
  endif()
endforeach()
list(POP_FRONT command) # this file
execute_process(COMMAND ${CMAKE_COMMAND} -E env PYTHONPATH=${CMAKE_CURRENT_LIST_DIR} HF_HUB_OFFLINE=1 "${python}" ${command}
  RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  list(JOIN command " " command)
  message(FATAL_ERROR "${command} failed")
endif()
