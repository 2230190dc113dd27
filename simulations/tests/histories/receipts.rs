//! What clients were told of their updates, read off what they log: a client keeps no list of its receipts.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// The span that says which client runs in it.
pub(crate) const CLIENT: &str = "histories::client";

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Receipt {
    pub(crate) round: u64,
    pub(crate) client: u64,
    /// The name of the outcome in the protocol.
    pub(crate) outcome: String,
}

/// Hears receipts. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Ear(Arc<Heard>);

#[derive(Default)]
struct Heard {
    /// Print everything that the processes log.
    aloud: bool,
    next: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    spans: HashMap<u64, Fields>,
    entered: Vec<u64>,
    receipts: Vec<Receipt>,
    setbacks: usize,
    resumed: usize,
}

#[derive(Clone, Debug, Default)]
struct Fields {
    client: Option<u64>,
    round: Option<u64>,
    outcome: Option<String>,
    resumed_at: Option<u64>,
    text: String,
}

impl Ear {
    pub(crate) fn new(aloud: bool) -> Self {
        Self(Arc::new(Heard { aloud, ..Heard::default() }))
    }

    /// All receipts, in the order in which they came.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.with(|inner| inner.receipts.clone())
    }

    /// How often something failed and was tried again.
    pub(crate) fn setbacks(&self) -> usize {
        self.with(|inner| inner.setbacks)
    }

    /// How many transfers went on from where they had broken off.
    pub(crate) fn resumed(&self) -> usize {
        self.with(|inner| inner.resumed)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.inner.lock().expect("nothing panics while it holds this"))
    }
}

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target == CLIENT || target.starts_with("nibble_client::agent") || (self.0.aloud && target.starts_with("nibble"))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.with(|inner| inner.spans.insert(id, fields));
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    #[expect(clippy::print_stderr, reason = "whoever replays one history wants to see it")]
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (client, round) = self.with(|inner| {
            let spans = || inner.entered.iter().rev().filter_map(|id| inner.spans.get(id));
            (spans().find_map(|span| span.client), spans().find_map(|span| span.round))
        });
        if self.0.aloud {
            let at = turmoil::sim_elapsed().unwrap_or_default();
            eprintln!("{at:?} {} client={client:?} round={round:?}{}", event.metadata().target(), fields.text);
        }
        self.with(|inner| inner.resumed += usize::from(fields.resumed_at.is_some_and(|at| at > 0)));
        self.with(|inner| inner.setbacks += usize::from(fields.text.contains("message=trying again")));
        if let (Some(outcome), Some(client), Some(round)) = (fields.outcome, client, round) {
            self.with(|inner| inner.receipts.push(Receipt { round, client, outcome }));
        }
    }

    fn enter(&self, span: &Id) {
        self.with(|inner| inner.entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        self.with(|inner| {
            if let Some(last) = inner.entered.iter().rposition(|id| *id == span.into_u64()) {
                inner.entered.remove(last);
            }
        });
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "client" => self.client = Some(value),
            "round" => self.round = Some(value),
            "resumed_at" => self.resumed_at = Some(value),
            _ => {}
        }
        self.record_debug(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "outcome" {
            self.outcome = Some(value.into());
        }
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text += &format!(" {}={value:?}", field.name());
    }
}
