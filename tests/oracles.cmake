# Tests against independent implementations: Python's diffusers and transformers make small random models,
# inputs and outputs; the C++ tests load the models and compare. The Python is PUSHFORWARD_ORACLES_PYTHON, else the one
# that scripts/setup.sh --ci makes, else python3. Where it lacks the packages, these tests say so and are skipped.
if(NOT PUSHFORWARD_ORACLES_PYTHON)
  set(caches "$ENV{PUSHFORWARD_CACHE}" "$ENV{XDG_CACHE_HOME}/pushforward" "$ENV{HOME}/.cache/pushforward")
  list(TRANSFORM caches APPEND "/oracles/bin")
  find_program(PUSHFORWARD_ORACLES_PYTHON NAMES python3 HINTS ${caches} DOC "A Python with diffusers and transformers")
endif()

# pushforward_oracle_test(<program> LABEL <label> ORACLE <name> SOURCES <file>... LIBRARIES <library>...)
# <name>.py FOLDER writes what should come out; the test "<label>/<name>" runs it before the cases of <program>,
# which find the folder in the macro ORACLE_FOLDER (tests/support/oracle.hpp).
function(pushforward_oracle_test program)
  cmake_parse_arguments(arg "" "LABEL;ORACLE" "SOURCES;LIBRARIES" ${ARGN})
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${arg_ORACLE})
  add_test(NAME ${arg_LABEL}/${arg_ORACLE}
    COMMAND ${CMAKE_COMMAND} -E env PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/support HF_HUB_OFFLINE=1
      ${PUSHFORWARD_ORACLES_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/${arg_ORACLE}.py ${folder})
  set_tests_properties(${arg_LABEL}/${arg_ORACLE} PROPERTIES LABELS ${arg_LABEL} FIXTURES_SETUP ${arg_ORACLE} SKIP_RETURN_CODE 77)
  add_executable(${program} ${arg_SOURCES})
  target_compile_definitions(${program} PRIVATE ORACLE_FOLDER="${folder}")
  target_link_libraries(${program} PRIVATE pushforward_test_main ${arg_LIBRARIES} pushforward_test_libtorch)
  target_precompile_headers(${program} REUSE_FROM pushforward_test_libtorch)
  pushforward_warnings(${program})
  catch_discover_tests(${program} TEST_PREFIX ${arg_LABEL}/ PROPERTIES LABELS ${arg_LABEL} FIXTURES_REQUIRED ${arg_ORACLE}
    SKIP_REGULAR_EXPRESSION "no oracle")
endfunction()
