# CLIP: tokenizer, text and vision encoders.
pushforward_oracle_test(models_clip LABEL models ORACLE clip
  SOURCES clip_text.cpp clip_tokenizer.cpp clip_vision.cpp LIBRARIES pushforward::models)

# In full size, not a test: `PYTHONPATH=tests/support <python> tests/models/clip.py FOLDER full` takes minutes and 3 GB, then
# `models_clip_full FOLDER` compares.
add_executable(models_clip_full EXCLUDE_FROM_ALL clip_full.cpp)
target_include_directories(models_clip_full PRIVATE ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(models_clip_full PRIVATE pushforward::models)
pushforward_warnings(models_clip_full)

pushforward_fuzzer(fuzz_clip_tokenizer SEEDS ${CMAKE_CURRENT_SOURCE_DIR}/seeds/clip_tokenizer
  SOURCES clip_tokenizer_fuzz.cpp LIBRARIES pushforward::models)
if(TARGET fuzz_clip_tokenizer)
  target_include_directories(fuzz_clip_tokenizer PRIVATE ${PROJECT_SOURCE_DIR}/tests)
endif()
