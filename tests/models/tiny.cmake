pushforward_oracle_test(models_tiny LABEL models ORACLE tiny
  SOURCES autoencoder_tiny.cpp LIBRARIES pushforward::models)
