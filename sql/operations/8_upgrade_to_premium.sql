-- Make a user premium by a payment of one period: e-mail. Paying again adds another period.
with account as (
    select user_id from app_user where lower(email) = lower($1)
), current_subscription as (
    select subscription_id, plan_code from subscription join account using (user_id) where status = 'active'
), new_subscription as (
    insert into subscription (user_id, plan_code)
    select user_id, 'monthly' from account where not exists (select from current_subscription)
    returning subscription_id, plan_code
)
insert into payment (subscription_id, amount_cents)
select subscription_id, price_cents
from (select * from current_subscription union all select * from new_subscription) as paid
join plan on plan.code = paid.plan_code
returning payment_id, subscription_id
