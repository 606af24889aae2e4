//! Who agrees to what: a change to `--yes` or an answer, a deletion to a list that was shown, what is protected only to the stack's name.

use std::io::Write;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Host;
use crate::error::Error;
use crate::progress::Line;

/// What whoever typed the command has agreed to.
#[derive(Debug, Clone, Default)]
pub struct Consent {
    /// `--yes`: changes, and deletions of what is not protected.
    pub yes: bool,
    /// Each change and each effect is asked about by itself: at a prompt, where nobody has read a playbook before.
    pub each: bool,
    /// `--delete-protected STACK`
    pub delete_protected: Option<String>,
    /// `--destroy-data STACK`: protected things go without a final snapshot.
    pub destroy_data: Option<String>,
    /// `--allow-open`: what nobody should open to everybody may be.
    pub allow_open: bool,
    /// `--lock-wait`: how long to wait for another run of the same stack to end.
    pub lock_wait: Duration,
}

impl Host {
    /// Asks whether the stack may be changed: once, or where each change is asked about, whether `doing` may be done.
    pub(super) fn agree(&self, doing: &str) -> Result<(), Error> {
        let _one_question_at_a_time = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.agreed() {
            return Ok(());
        }
        let stack = self.stack()?;
        if !self.progress.interactive() {
            return Err(Error::refused(format!("`{stack}` is not changed without consent"))
                .help("nobody can be asked here: add `--yes` to agree to the changes"));
        }
        if self.consent.each {
            return self.agree_to(&format!("{doing}  in the stack `{stack}` ({})", self.place()));
        }
        self.progress.line(Line::Info, &format!("About to change the stack `{stack}` ({}).", self.place()));
        if ask(self, "Go on? [y/N] ")?.eq_ignore_ascii_case("y") {
            self.agreed.store(true, Ordering::SeqCst);
            return Ok(());
        }
        Err(Error::refused("not agreed to: nothing was changed"))
    }

    /// Asks about what is no resource, where each change is asked about.
    pub(super) fn agree_to_effect(&self, doing: &str) -> Result<(), Error> {
        let _one_question_at_a_time = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.asks_about_effects() {
            return Ok(());
        }
        if !self.progress.interactive() {
            return Err(Error::refused(format!("not done without consent: {doing}"))
                .help("nobody can be asked here: add `--yes` to agree to the changes"));
        }
        self.agree_to(doing)
    }

    /// Whether each effect is asked about before it is done.
    pub fn asks_about_effects(&self) -> bool {
        self.consent.each && !self.agreed()
    }

    fn agreed(&self) -> bool {
        self.consent.yes || self.agreed.load(Ordering::SeqCst)
    }

    fn agree_to(&self, doing: &str) -> Result<(), Error> {
        self.progress.line(Line::Info, &format!("About to {doing}"));
        if ask(self, "Go on? [y/N] ")?.eq_ignore_ascii_case("y") {
            return Ok(());
        }
        Err(Error::refused("not agreed to: it was not done"))
    }

    /// Whether `doomed` may be deleted; `protected` are those among them that `--yes` does not cover.
    ///
    /// `to_keep` is what may be added to the command to keep the protected ones; of some of them a snapshot is left.
    pub fn agree_to_delete(
        &self,
        doomed: &[String],
        protected: &[String],
        to_keep: &str,
        leaves_snapshot: bool,
    ) -> Result<(), Error> {
        self.turn()?;
        let stack = self.stack()?;
        self.progress
            .line(Line::Info, &format!("To be deleted from the stack `{stack}` ({}):", self.place()));
        for thing in doomed {
            let mark = if protected.contains(thing) { "   (protected)" } else { "" };
            self.progress.line(Line::Info, &format!("  - {thing}{mark}"));
        }
        for (flag, given) in [
            ("--delete-protected", &self.consent.delete_protected),
            ("--destroy-data", &self.consent.destroy_data),
        ] {
            if let Some(given) = given
                && given != stack
            {
                return Err(Error::refused(format!("`{flag} {given}` does not name this stack, `{stack}`")));
            }
        }
        let covered = protected.is_empty() || self.consent.delete_protected.is_some();
        if !self.progress.interactive() {
            return if !covered {
                let mut refused =
                    Error::refused(format!("{} is protected: nothing was deleted", protected.join(", ")));
                if !to_keep.is_empty() {
                    refused = refused.help(format!("add `{to_keep}` to keep it and its data"));
                }
                let or = if to_keep.is_empty() { "" } else { "or " };
                let left = if leaves_snapshot { "; a final snapshot stays" } else { "" };
                Err(refused.help(format!("{or}add `--delete-protected {stack}` to delete it as well{left}")))
            } else if !self.consent.yes {
                Err(Error::refused("nothing was deleted: nobody can be asked here")
                    .help("add `--yes` to agree to this list"))
            } else {
                Ok(())
            };
        }
        if !covered {
            if ask(self, "Type the stack's name to delete what is protected as well: ")? != stack {
                return Err(Error::refused("not agreed to: nothing was deleted"));
            }
        } else if !self.consent.yes && !ask(self, "Delete all this? [y/N] ")?.eq_ignore_ascii_case("y") {
            return Err(Error::refused("not agreed to: nothing was deleted"));
        }
        self.agreed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Whether everybody may be let in where a login is tried for at once.
    pub fn allows_open(&self) -> bool {
        self.consent.allow_open
    }

    /// Whether protected things go without a final snapshot.
    pub fn destroys_data(&self) -> bool {
        self.consent.destroy_data.is_some()
    }
}

/// Asks at the terminal. Ctrl-C is an answer too: kind `interrupted`.
fn ask(host: &Host, question: &str) -> Result<String, Error> {
    let failed = |source| Error::io("ask on the terminal", &source);
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).map_err(failed)?;
    // A read of the terminal cannot be called off, and would take what is typed next: it begins when there is a line to read.
    host.block_without_account(async {
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for files that are closed meanwhile: stdin is not"
        )]
        let keyboard = AsyncFd::with_interest(std::io::stdin(), Interest::READABLE).map_err(failed)?;
        keyboard.readable().await.map(drop).map_err(failed)
    })?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}
