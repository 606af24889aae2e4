-- Delete an account and its private data: e-mail. Its payments are kept, without the person.
delete from app_user where lower(email) = lower($1) returning user_id
