-- One role and one schema a service, so that none can touch another's tables. As a superuser, in the database Inkwright is to use:
--     psql -d inkwright -f roles.sql
-- and then, for each service, `\password inkwright_dataset` and so on. May be run again.
\set ON_ERROR_STOP on

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['inkwright_dataset', 'inkwright_labeling', 'inkwright_trainer', 'inkwright_inference', 'inkwright_gateway']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec

-- A schema named like its role is the role's default: no search path has to be set anywhere.
SELECT format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', role, role)
FROM unnest(ARRAY['inkwright_dataset', 'inkwright_labeling', 'inkwright_trainer', 'inkwright_inference', 'inkwright_gateway']) AS role \gexec

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
