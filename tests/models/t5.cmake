# T5 v1.1: its encoder and its tokenizer.
pushforward_oracle_test(models_t5 LABEL models ORACLE t5
  SOURCES t5_encoder.cpp t5_tokenizer.cpp LIBRARIES pushforward::models)
pushforward_device_test(models_t5 FIXTURE t5 [device])
