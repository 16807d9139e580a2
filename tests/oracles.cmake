# Tests against independent implementations: Python's diffusers and transformers answered on small random models, and
# what they answered is recorded in tests/recorded (see its README); no Python is needed. Where it is there, tests of
# the label `oracles` make the recordings anew and compare.

# pushforward_oracle_test(<program> LABEL <label> ORACLE <name> SOURCES <file>... LIBRARIES <library>...)
# The test "<label>/<name>" makes a folder of tests/recorded/<name> before the cases of <program> run, which find it in
# the macro ORACLE_FOLDER (tests/support/oracle.hpp). "oracles/<name>" compares it with what <name>.py writes.
function(pushforward_oracle_test program)
  cmake_parse_arguments(arg "" "LABEL;ORACLE" "SOURCES;LIBRARIES" ${ARGN})
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${arg_ORACLE})
  add_test(NAME ${arg_LABEL}/${arg_ORACLE}
    COMMAND pushforward_expand_recording ${PROJECT_SOURCE_DIR}/tests/recorded/${arg_ORACLE} ${folder})
  set_tests_properties(${arg_LABEL}/${arg_ORACLE} PROPERTIES LABELS ${arg_LABEL} FIXTURES_SETUP ${arg_ORACLE})
  pushforward_python_test(${arg_ORACLE} FIXTURE ${arg_ORACLE}
    COMMAND ${PROJECT_SOURCE_DIR}/tests/support/recording.py compare ${arg_ORACLE} ${folder})
  add_executable(${program} ${arg_SOURCES})
  target_compile_definitions(${program} PRIVATE ORACLE_FOLDER="${folder}")
  target_link_libraries(${program} PRIVATE pushforward_test_main ${arg_LIBRARIES} pushforward_test_libtorch)
  target_precompile_headers(${program} REUSE_FROM pushforward_test_libtorch)
  pushforward_warnings(${program})
  catch_discover_tests(${program} TEST_PREFIX ${arg_LABEL}/ PROPERTIES LABELS ${arg_LABEL} FIXTURES_REQUIRED ${arg_ORACLE})
endfunction()

# pushforward_python_test(<name> FIXTURE <fixture> COMMAND <script> <argument>...): the test "oracles/<name>", which is
# skipped where Python lacks the packages. Python is looked for when the test runs.
function(pushforward_python_test name)
  cmake_parse_arguments(arg "" "FIXTURE" "COMMAND" ${ARGN})
  add_test(NAME oracles/${name}
    COMMAND ${CMAKE_COMMAND} -D SKIP=ON -P ${PROJECT_SOURCE_DIR}/tests/support/python.cmake ${arg_COMMAND})
  set_tests_properties(oracles/${name} PROPERTIES LABELS oracles FIXTURES_REQUIRED ${arg_FIXTURE}
    SKIP_REGULAR_EXPRESSION "^skipped: no Python")
endfunction()
