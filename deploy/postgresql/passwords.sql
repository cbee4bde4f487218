-- Gives each role its password from the environment, after roles.sql and as a superuser. May be run again, to change them.
\set ON_ERROR_STOP on

\getenv password DATASET_PASSWORD
ALTER ROLE inkwright_dataset PASSWORD :'password';
\getenv password LABELING_PASSWORD
ALTER ROLE inkwright_labeling PASSWORD :'password';
\getenv password TRAINER_PASSWORD
ALTER ROLE inkwright_trainer PASSWORD :'password';
\getenv password INFERENCE_PASSWORD
ALTER ROLE inkwright_inference PASSWORD :'password';
\getenv password GATEWAY_PASSWORD
ALTER ROLE inkwright_gateway PASSWORD :'password';
