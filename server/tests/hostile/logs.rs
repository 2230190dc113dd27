//! What must not happen whatever peers do: a panic, or a line in the log that says the coordinator itself failed.

use std::{
    io, panic,
    sync::{Mutex, Once, PoisonError},
};

static TROUBLE: Mutex<String> = Mutex::new(String::new());
static WATCHED: Once = Once::new();

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        note(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn note(text: &str) {
    TROUBLE.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
}

/// From now on panics of all threads but the tests' own and errors in the log are kept.
pub(crate) fn watch() {
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // Tests' own threads are named after them; their panics are failed assertions.
            if !std::thread::current().name().is_some_and(|name| name.contains("::")) {
                note(&format!("{panic}\n"));
            }
            before(panic);
        }));
        let errors = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_ansi(false);
        errors.with_writer(|| Lines).init();
    });
}

/// Fails if there was any.
pub(crate) fn assert_no_trouble() {
    let trouble = TROUBLE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(trouble.is_empty(), "a peer made trouble:\n{trouble}");
}
