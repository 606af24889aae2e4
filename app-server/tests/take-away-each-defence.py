#!/usr/bin/env python3
"""Takes away the query server's defences one by one, in a copy of its sources, and sees which test notices.

From the repository's root: app-server/tests/take-away-each-defence.py [word of a name ..]. Takes about half a minute a defence.
With --check it only looks whether each defence and its tests are still there, which `scripts/test` does each time.
The database's own defences are taken away by the test `each_defence_of_the_database_is_needed`.
The compiler is called as the variable CARGO says, `cargo` by default.
"""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

# Name, file under app-server/src, what is replaced, by what, and the tests of which at least one must then fail.
DEFENCES = [
    ("FunctionCall refused", "refusal.rs", "b'F' => Err(", "b'F' if kind == 0 => Err(",
     ["a_function_call_is_refused_in_its_turn", "no_function_is_called_without_a_statement"]),
    ("replication refused", "login.rs", '"replication" => return Err(refused("replication connections are not served")),',
     '"replication" => {}', ["replication_options_and_unknown_parameters_are_refused"]),
    ("start-up options refused", "login.rs", '"options" if value.trim().is_empty() => {}', '"options" => {}',
     ["probes_leave_no_line_and_requests_that_are_not_served_are_refused"]),
    ("start-up parameters from a list", "login.rs", "lower if FOLLOWED.contains(&lower) =>",
     "lower if !lower.is_empty() =>", ["replication_options_and_unknown_parameters_are_refused"]),
    ("safe encodings at the start", "login.rs", '"client_encoding" if !is_safe_encoding(value) => {',
     '"client_encoding" if value.is_empty() => {', ["an_encoding_in_which_a_quote_may_be_half_a_character_is_refused"]),
    ("statement allow-list", "allow_list.rs", "if tier == Tier::Admin {", "if tier != Tier::Admin || !sql.is_empty() {",
     ["no_attempt_of_a_guest_gains_anything"]),
    ("what cannot be read is refused", "allow_list.rs", "next_statement(&mut parser).map_err(|_| syntax_error::answer(tier, sql))?",
     "next_statement(&mut parser).unwrap_or_default()", ["no_attempt_of_a_guest_gains_anything"]),
    ("reset on a change of owner", "ledger.rs", "_ => HandOver::ResetAndIdentity,", "_ => HandOver::Identity,",
     ["nothing_that_a_client_leaves_reaches_the_next_one", "thousands_of_hand_overs_leak_nothing_and_lose_nothing"]),
    ("reset of who has left", "pool.rs", "self.reset(tier, session);", "self.give_back(tier, session);",
     ["nothing_that_a_client_leaves_reaches_the_next_one"]),
    ("auto-pin", "session_state.rs", "ties.then_some(Tie::Other)", "(ties && tag.is_empty()).then_some(Tie::Other)",
     ["state_that_a_client_asks_for_stays_with_it_until_it_is_discarded"]),
    ("only so many are pinned", "pool.rs", "pooling.size.div_ceil(2)", "pooling.size",
     ["state_that_a_client_asks_for_stays_with_it_until_it_is_discarded"]),
    ("identity given back after a reset", "relay/requests.rs", "if ledger.take_identity_lost() {",
     "if ledger.take_identity_lost() && length == 0 {", ["an_identity_comes_back_to_a_database_session_that_is_kept"]),
    ("pinned settings", "pool.rs", ".map(|(name, value)| (*name, value.as_str()))",
     ".filter(|_| false).map(|(name, value)| (*name, value.as_str()))",
     ["what_a_session_begins_with_is_the_servers_whatever_the_database_says"]),
    ("role settings removed", "pool.rs", "if repair_role_settings(&mut backend, tier).await? {",
     "if false && repair_role_settings(&mut backend, tier).await? {",
     ["settings_and_passwords_stored_on_a_shared_role_do_not_reach_the_next_person"]),
    ("tier password restored", "pool.rs", 'if code == "28P01" =>', 'if code == "never" =>',
     ["settings_and_passwords_stored_on_a_shared_role_do_not_reach_the_next_person"]),
    ("check of the roles", "accounts.rs", "match excess.into_iter().next() {", "match excess.into_iter().next().filter(|_| false) {",
     ["a_role_that_may_do_more_than_its_tier_is_not_served"]),
    ("check of the identity key", "accounts.rs", "return Err(NotReady::IdentityKey);", "return Ok(());",
     ["readiness_follows_the_schema_the_key_and_the_roles"]),
    ("a cancel is waited for", "cancel.rs", "let backend = target.lock_owned().await;",
     "let backend = { let held = target.lock_owned().await; let key = *held; drop(held); Box::new(key) };",
     ["a_late_cancel_does_not_hit_the_next_owner"]),
    ("cancel keys of our own", "cancel.rs", "self.sessions().get(key).cloned()", "self.sessions().values().next().filter(|_| !key.is_empty()).cloned()",
     ["a_running_query_is_cancelled_by_its_own_key_only"]),
    ("statement clock", "clock.rs", "ledger.exceed(too_slow(tier, limit.duration));",
     "wake_at = now + limit.duration;", ["a_tiers_limits_hold_whatever_the_session_sets"]),
    ("row and byte limits", "relay/answers.rs", "(rows > limit.rows || bytes > limit.bytes)",
     "(rows > limit.rows && bytes > limit.bytes && rows == 0)", ["bytes_and_pace_are_limited_and_copy_counts"]),
    ("statement rate", "guard.rs", "(paid - now).saturating_sub(BURST)", "(paid - now).saturating_sub(BURST * 1000)",
     ["bytes_and_pace_are_limited_and_copy_counts"]),
    ("login deadline", "listener.rs", "Instant::now() + services.strangers.login_timeout",
     "Instant::now() + services.strangers.login_timeout * 100",
     ["slow_strangers_are_cut_while_an_honest_client_is_served"]),
    ("length of a start-up packet", "session.rs", "if length as usize > services.strangers.startup_bytes {",
     "if length as usize > services.strangers.startup_bytes * 1000 {",
     ["a_start_up_packet_may_be_so_long_and_nothing_may_be_said_before_tls"]),
    ("length of a message", "relay/requests.rs", "(5..=shared.relay.services.message_bytes).contains(&length)",
     "(5..=usize::MAX).contains(&length)", ["a_message_of_an_impossible_length_ends_only_its_own_session"]),
    ("idle sessions expire", "clock.rs", "if wake_at <= now {", "if wake_at <= now && services.idle_timeout.is_zero() {",
     ["an_idle_session_expires_but_never_in_a_transaction"]),
    ("transactions left alone end", "clock.rs", "if ledger.is_idle_in_transaction() {", "if false && ledger.is_idle_in_transaction() {",
     ["a_transaction_that_is_left_alone_ends_whatever_the_session_sets"]),
    ("guesses made at once", "guard.rs", "self.refused(&counts, address, user)?;", "",
     ["guesses_made_at_once_are_counted_like_others", "failures_count_for_the_address_they_came_from"]),
    ("a pool that works", "readiness.rs", "services.pools.check_out(tier).await", "Ok::<(), crate::backend::BackendError>(())",
     ["readiness_takes_a_session_out_of_each_pool"]),
    ("an audit that works", "readiness.rs", "services.audit.serving()", "std::future::ready(Ok::<(), std::io::Error>(()))",
     ["a_server_that_cannot_record_is_not_ready"]),
    ("guesses are counted", "guard.rs", "failures.count += 1;", "failures.count |= 0;",
     ["guessing_passwords_is_stopped_for_the_guesser_and_an_account_has_so_many_sessions"]),
    ("sessions of an account", "guard.rs", "sessions.open >= limit", "sessions.open >= limit * 100",
     ["guessing_passwords_is_stopped_for_the_guesser_and_an_account_has_so_many_sessions"]),
    ("connections of an address", "guard.rs", "(*open >= limit).then(", "(*open >= limit * 100).then(",
     ["connections_are_counted_by_address", "bytes_and_pace_are_limited_and_copy_counts"]),
    ("recorded before answered", "relay/answers.rs",
     ("self.stage = Stage::Record;", "if let Some(end) = self.delivered("),
     ("self.stage = Stage::Write;", "if let Err(answer) = ready!(shared.poll_record(&mut self.lines, context)) {\n"
      "                            return Poll::Ready(End::Closed(answer));\n                        }\n"
      "                        if let Some(end) = self.delivered("),
     ["nothing_is_answered_before_it_is_recorded"]),
    ("PROXY headers of balancers only", "listener.rs", "services.proxy_from.iter().any(|network| network.contains(peer.ip()))",
     "!services.proxy_from.is_empty()", ["a_load_balancer_in_the_configured_network_says_whose_the_connection_is"]),
    ("PROXY header required", "proxy_protocol.rs", 'return refused("expected from this address, and not there");',
     "return Ok(peer);", ["a_load_balancer_in_the_configured_network_says_whose_the_connection_is", "anything_else_is_refused"]),
    ("clear text from this machine only", "session.rs", "!peer.ip().to_canonical().is_loopback()",
     "peer.ip().is_unspecified()", ["strangers_from_afar_need_tls_and_see_no_metrics"]),
    ("metrics for the operator only", "http.rs", "address.is_loopback() ||", "!address.is_unspecified() ||",
     ["strangers_from_afar_need_tls_and_see_no_metrics"]),
    ("unknown users look known", "login.rs", "let certificate_hash = match method {",
     "if account.is_none() { return Err(wrong_password()); }\n    let certificate_hash = match method {",
     ["an_address_without_an_account_is_answered_like_one_with"]),
    ("made-up salts stay", "scram.rs", "salt: salt[..16].to_vec(),", "salt: rand::random::<[u8; 16]>().to_vec(),",
     ["an_address_without_an_account_is_answered_like_one_with"]),
    ("state of an account", "login.rs", "None => Ok(()),\n        Some(state)", "_ if account.is_some() => Ok(()),\n        None => Ok(()),\n        Some(state)",
     ["the_state_of_an_account_is_told_to_who_has_its_password_only"]),
    ("password itself inside TLS only", "session.rs", "if is_encrypted && services.password_from", "if services.password_from",
     ["a_driver_without_scram_is_asked_for_the_password_inside_tls_only"]),
    ("a login bound to its TLS session", "scram.rs", "(BINDING, Some(offered)) if plus => offered,", "(BINDING, Some(_)) if plus => b\"\",",
     ["a_bound_exchange_ends_where_it_began", "a_login_can_be_bound_to_the_tls_session"]),
    ("the database's certificate is checked", "tls.rs", "builder.with_root_certificates(roots).with_no_client_auth()",
     "{ drop(roots); builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider()))).with_no_client_auth() }",
     ["the_database_is_reached_over_tls_and_its_certificate_is_checked"]),
    ("record_play alone", "record_play.rs", ".and_then(|rest| rest.strip_suffix(')'))", ".and_then(|rest| rest.split(')').next())",
     ["only_the_very_statement_is_recognised", "a_person_records_a_play_of_the_own_account"]),
    ("portals that stop are recorded", "ledger/answers.rs", "b's' => self.portal_suspended(now, ended),", "b's' => {}",
     ["a_portal_that_stops_is_recorded_when_it_stops_and_when_it_ends", "a_portal_that_has_stopped_is_on_record_even_after_a_kill"]),
    ("limits hold for a portal", "relay/requests.rs", "ledger.exhausted(body)", "ledger.exhausted(body).filter(|_| false)",
     ["what_a_portal_answers_in_pieces_counts_as_one_statement"]),
    ("statements of a message are counted", "relay/requests.rs", "judged.as_ref().map_or(u64::from(kind != b'P'), |count| *count)",
     "u64::from(judged.is_err() || matches!(kind, b'Q' | b'E'))", ["many_statements_in_a_message_cost_their_text_once_and_count_as_many"]),
    ("the text of a message is recorded once", "audit_record.rs", "if statement.part > 1 &&", "if statement.part > 1_000_000 &&",
     ["many_statements_in_a_message_cost_their_text_once_and_count_as_many"]),
    ("records are brought out in pieces", "relay.rs", "const RECORDS_AT_ONCE: usize = 64 * 1024;",
     "const RECORDS_AT_ONCE: usize = usize::MAX;", ["many_statements_in_a_message_cost_their_text_once_and_count_as_many"]),
    ("long prepared texts are recorded", "ledger/requests.rs", "let is_known = is_short && is_kept;", "let is_known = is_kept;",
     ["no_statement_is_so_long_that_it_hides_something"]),
    ("literals redacted", "audit.rs", "lines.statement(statement, self.redacts_literals)", "lines.statement(statement, false)",
     ["the_audit_can_leave_out_what_people_write_into_statements"]),
]

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CARGO = shlex.split(os.environ.get("CARGO", "cargo"))
# A test that waits in vain has noticed, too.
TEST_S = 120


def copy(to):
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, check=True,
                            capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, to / name)


def nextest(folder, tests, *how):
    """What the tests' end says, in nextest's exit codes: 0 passed, 100 failed, 4 and 101 no such test and not built."""
    chosen = " or ".join(f"test(/(^|::){test}$/)" for test in tests)
    command = [*CARGO, "nextest", "run", "-p", "app-server", "--locked", *how, "-E", chosen]
    # A session of its own: what hangs is ended with all that it has started.
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True)
    try:
        said, _ = running.communicate(timeout=None if "--no-run" in how else TEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGTERM)
        running.communicate()
        return 100
    if running.returncode not in (0, 100):
        print(said, file=sys.stderr)
    return running.returncode


def without(folder, file, replacements, tests):
    """What becomes of a defence's tests without it."""
    source = folder / "app-server/src" / file
    whole = weak = source.read_text()
    for before, after in replacements:
        if before not in weak:
            return f"HAS NO MORE `{before}`"
        weak = weak.replace(before, after)
    source.write_text(weak)
    built = nextest(folder, tests, "--no-run")
    ended = nextest(folder, tests, "--no-fail-fast") if built == 0 else built
    source.write_text(whole)
    return {0: "NOT NOTICED", 100: "noticed"}.get(ended, "CANNOT BE BUILT")


def check():
    """Every defence of the list is in the sources, and every test."""
    package = REPOSITORY / "app-server"
    tests = "".join(path.read_text() for folder in ("src", "tests") for path in (package / folder).rglob("*.rs"))
    gone = []
    for name, file, old, _, noticed_by in DEFENCES:
        source = (package / "src" / file).read_text()
        gone += [f"{name}: {file} has no more `{text}`" for text in ([old] if isinstance(old, str) else old) if text not in source]
        gone += [f"{name}: there is no test {test}" for test in noticed_by if f"fn {test}(" not in tests]
    return "\n".join(gone) or 0


def main(words):
    if words == ["--check"]:
        sys.exit(check())
    chosen = [defence for defence in DEFENCES if not words or any(word in defence[0] for word in words)]
    needless = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        copy(folder)
        for name, file, old, new, tests in chosen:
            replacements = [(old, new)] if isinstance(old, str) else list(zip(old, new))
            outcome = without(folder, file, replacements, tests)
            print(f"{outcome}: {name} ({file}): {', '.join(tests)}", flush=True)
            if outcome != "noticed":
                needless.append(name)
    sys.exit(f"nothing notices that these are gone: {', '.join(needless)}" if needless else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
