pushforward_oracle_test(models_tiny ORACLE tiny SOURCES autoencoder_tiny.cpp)
