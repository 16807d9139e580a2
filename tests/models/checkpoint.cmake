pushforward_oracle_test(models_checkpoint LABEL models ORACLE checkpoint
  SOURCES checkpoint.cpp LIBRARIES pushforward::models nlohmann_json::nlohmann_json)
