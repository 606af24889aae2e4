-- Register a user: e-mail, first name, last name. The account starts as free.
insert into app_user (email, first_name, last_name) values ($1, $2, $3) returning user_id, account_type
