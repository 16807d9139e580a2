# CLIP: tokenizer, text and vision encoders.
pushforward_oracle_test(models_clip ORACLE clip SOURCES clip_text.cpp clip_tokenizer.cpp clip_vision.cpp)
