-- Where one reader of quotes and comments may see a text, and another a statement. `{cr}` is a carriage return.

select 1 end; alter role tier_premium set work_mem = '65kB'

select 1 as x end; alter role current_user set work_mem = '65kB'

begin; select 1 end; alter role current_user set work_mem = '65kB'; commit

values (1) end; alter role current_user set work_mem = '65kB'

select 1 -- {cr}; alter role current_user set work_mem = '65kB'

-- {cr} alter role current_user set work_mem = '65kB'

select 1 +-- '
1; alter role current_user set work_mem = '65kB' -- '

select 1 --- '
; alter role current_user set work_mem = '65kB' -- '

select 1 */* ' */ 1; alter role current_user set work_mem = '65kB' /* ' */

select 1 <-- '
2; alter role current_user set work_mem = '65kB' -- '

select 1 =-- '
2; alter role current_user set work_mem = '65kB' -- '

select 1 |-- '
2; alter role current_user set work_mem = '65kB' -- '

select 1 &/* ' */2; alter role current_user set work_mem = '65kB' -- '

select 1 #-- '
2; alter role current_user set work_mem = '65kB' -- '

select 1 <@-- '
2; alter role current_user set work_mem = '65kB' -- '

select 'a' ||-- '
'b'; alter role current_user set work_mem = '65kB' -- '

select '{}'::jsonb ->>-- '
'b'; alter role current_user set work_mem = '65kB' -- '

select '{}'::jsonb @>/* ' */'{}'; alter role current_user set work_mem = '65kB' -- '

select 'a' ~*-- '
'b'; alter role current_user set work_mem = '65kB' -- '

select -/* ' */1; alter role current_user set work_mem = '65kB' -- '

select @-- '
1; alter role current_user set work_mem = '65kB' -- '

select !!-- '
'a'::tsquery; alter role current_user set work_mem = '65kB' -- '

select 1 as a$$; alter role current_user set work_mem = '65kB' -- $$

select 1 as a$b$; alter role current_user set work_mem = '65kB' -- $b$

select 1 as "a"$$ ; alter role current_user set work_mem = '65kB' -- $$

select 1 as é$$; alter role current_user set work_mem = '65kB' -- $$

select 1 as _$$; alter role current_user set work_mem = '65kB' -- $$

select 1 as 💥$$; alter role current_user set work_mem = '65kB' -- $$

select $é$ ' $é$; alter role current_user set work_mem = '65kB' -- '

select $💥$ ' $💥$; alter role current_user set work_mem = '65kB' -- '

select $💥$ , ' $💥$; alter role current_user set work_mem = '65kB' -- '

select $²$ , ' $²$; alter role current_user set work_mem = '65kB' -- '

select $a{nbsp}$ , ' $a{nbsp}$; alter role current_user set work_mem = '65kB' -- '

select $_$ ' $_$; alter role current_user set work_mem = '65kB' -- '

select $a1$ ' $a1$; alter role current_user set work_mem = '65kB' -- '

select $$ $a$ ' $$; alter role current_user set work_mem = '65kB' -- ' $a$

select $a$ $ $b$ ' $a$; alter role current_user set work_mem = '65kB' -- '

select $a$ $aa$ ' $a$; alter role current_user set work_mem = '65kB' -- ' $aa$

select $A$ $a$ ' $A$; alter role current_user set work_mem = '65kB' -- ' $a$

select E'a'
'\' ; select '
; alter role current_user set work_mem = '65kB' -- '

select e'a'
  '\' || '
; alter role current_user set work_mem = '65kB' -- '

select E'a' -- comment
'\' , '
; alter role current_user set work_mem = '65kB' -- '

select E'a'
'\' , '
; alter role current_user set work_mem = '65kB' -- '

select E'a'
'\' as b, '
; alter role current_user set work_mem = '65kB' -- '

select 'x' like E'a'
'\' || '
; alter role current_user set work_mem = '65kB' -- '

select * from content order by E'a'
'\' , '
; alter role current_user set work_mem = '65kB' -- '

select E'\\'; alter role current_user set work_mem = '65kB' -- '

select E'\\\'' ; alter role current_user set work_mem = '65kB' -- '

select e'\'' ; alter role current_user set work_mem = '65kB' -- '

select E'\'\''; alter role current_user set work_mem = '65kB' -- '

select 'a\'; alter role current_user set work_mem = '65kB' -- '

select n'a\'; alter role current_user set work_mem = '65kB' -- '

select N'a\'; alter role current_user set work_mem = '65kB' -- '

select b'1\'; alter role current_user set work_mem = '65kB' -- '

select b''; alter role current_user set work_mem = '65kB' -- '

select x'ff'; alter role current_user set work_mem = '65kB' -- \'

select r'\' as x; alter role current_user set work_mem = '65kB' -- '

select text'a\'; alter role current_user set work_mem = '65kB' -- '

select text E'a\'' ; alter role current_user set work_mem = '65kB' -- '

select date'2026-01-01'; alter role current_user set work_mem = '65kB' -- '

select q'a' ; alter role current_user set work_mem = '65kB' -- '

select u&'\0061'; alter role current_user set work_mem = '65kB' -- '

select 1 as u&"a\" ; alter role current_user set work_mem = '65kB' -- "

select 1 "a\"; alter role current_user set work_mem = '65kB' -- "

select 1 "a""" ; alter role current_user set work_mem = '65kB' -- "

select 1 as `; alter role current_user set work_mem = '65kB' -- `

select 1 as [a; alter role current_user set work_mem = '65kB' -- ]

select 1 # ' ; alter role current_user set work_mem = '65kB' -- '

select 1 /*/ ' */; alter role current_user set work_mem = '65kB' -- '

select 1 /*/*/ ' */ */; alter role current_user set work_mem = '65kB' -- '

select 1 /* ** /* **/ ' **/; alter role current_user set work_mem = '65kB' -- '

select 1 /*! ' */; alter role current_user set work_mem = '65kB' -- '

select 1 /*!99999 ; */ ; alter role current_user set work_mem = '65kB'

select 1 /*+ ' */; alter role current_user set work_mem = '65kB' -- '

select 1 // ' ; alter role current_user set work_mem = '65kB' -- '

select 1{ff}; alter role current_user set work_mem = '65kB'

select 1 as a{nbsp}b$$; alter role current_user set work_mem = '65kB' -- $$

alter{nbsp}role current_user set work_mem = '65kB'

select 1 as {bom}$$; alter role current_user set work_mem = '65kB' -- $$

select 1 -- {ls}; begin
; alter role current_user set work_mem = '65kB'

select 1.; alter role current_user set work_mem = '65kB'

select 1.e1; alter role current_user set work_mem = '65kB'

select 1e; alter role current_user set work_mem = '65kB'

select 0x1F; alter role current_user set work_mem = '65kB'

select 1_000; alter role current_user set work_mem = '65kB'

select $1; alter role current_user set work_mem = '65kB'

select :a; alter role current_user set work_mem = '65kB'

select ?; alter role current_user set work_mem = '65kB'

select 1 \; alter role current_user set work_mem = '65kB'

go
alter role current_user set work_mem = '65kB'

begin atomic; alter role current_user set work_mem = '65kB'; end

begin alter role current_user set work_mem = '65kB'; end

begin work; alter role current_user set work_mem = '65kB'; end work

begin transaction; alter role current_user set work_mem = '65kB'; end transaction

if 1 = 1 then alter role current_user set work_mem = '65kB'; end if

case when true then alter role current_user set work_mem = '65kB'; end case

select 1 into strict x; alter role current_user set work_mem = '65kB'

declare c cursor for select 1; alter role current_user set work_mem = '65kB'

copy content from stdin; alter role current_user set work_mem = '65kB'

copy content to stdout; alter role current_user set work_mem = '65kB'

copy (select 1) to stdout; alter role current_user set work_mem = '65kB'

copy content (title) from stdin; a
\.
; alter role current_user set work_mem = '65kB'

explain select 1; alter role current_user set work_mem = '65kB'

set timezone = 'UTC'; alter role current_user set work_mem = '65kB'

set timezone = 'UTC', 'x'; alter role current_user set work_mem = '65kB'

set application_name = alter; alter role current_user set work_mem = '65kB'

reset all; alter role current_user set work_mem = '65kB'

show all; alter role current_user set work_mem = '65kB'

prepare p as select 1; alter role current_user set work_mem = '65kB'

execute p; alter role current_user set work_mem = '65kB'

listen a; alter role current_user set work_mem = '65kB'
