//! The data of COPY FROM STDIN, typed or pasted at the prompt: through the line editor, since what was
//! pasted after the statement is in its hands already.

use reedline::{
    EditCommand, Emacs, KeyCode, KeyModifiers, Reedline, ReedlineEvent, Signal, default_emacs_keybindings,
};

use super::editor::Prompt;
use crate::error::Error;

/// Asks for lines, from the first one that the server wants.
#[derive(Default)]
pub(super) struct TypedData {
    editor: Option<Reedline>,
}

impl TypedData {
    /// The next line; false at `\.` or Ctrl-D.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        line.clear();
        let editor = self.editor.get_or_insert_with(|| {
            say!("rows of data, please: `\\.` alone or Ctrl-D ends them, Ctrl-C gives up");
            open()
        });
        match editor.read_line(&Prompt { text: "copy> ".to_owned() }) {
            Ok(Signal::Success(text)) if text != "\\." => {
                line.extend_from_slice(text.as_bytes());
                line.push(b'\n');
                Ok(true)
            }
            Ok(Signal::Success(_) | Signal::CtrlD) => Ok(false),
            Ok(_) => Err(Error::CopyGivenUp),
            Err(source) => Err(Error::CopyInput { source }),
        }
    }
}

/// No history: data is not what one wants to find there. The tab key is a tab, which parts the columns.
fn open() -> Reedline {
    let mut keys = default_emacs_keybindings();
    let tab = ReedlineEvent::Edit(vec![EditCommand::InsertChar('\t')]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, tab);
    Reedline::create().with_edit_mode(Box::new(Emacs::new(keys))).with_ansi_colors(false)
}
