//! The log: one line per step on stderr, with the seconds since start.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Id, Level, Metadata, Subscriber, span};

use keyvault_common::names::LogLevel;

struct Lines {
    most: Level,
    start: Instant,
}

/// Writes this program's events up to `level`; those of libraries never, since nobody has vetted what they say.
pub(super) fn start(level: LogLevel) {
    let most = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    // A second start in one process keeps the first.
    let _ = tracing::subscriber::set_global_default(Lines { most, start: Instant::now() });
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most && metadata.target().starts_with("keyvault_")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = format!("{:.3} {} ", self.start.elapsed().as_secs_f32(), event.metadata().level());
        event.record(&mut Message(&mut line));
        line.push('\n');
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    // The agent has no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Message<'l>(&'l mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
