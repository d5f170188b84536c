//! What changes rows besides commits: leases of the outbox and the sweep. Written once for every
//! backend.

use crate::commit::{Id, Settle};
use crate::error::Fault;
use crate::read::{OutboxItem, OutboxState, Swept};
use crate::rows::{Change, Rows, Stale};

const HOUR: i64 = 60 * 60 * 1000;

/// How long the reply to a command is kept, in milliseconds: longer than anybody repeats one.
pub const KEEP_COMMANDS: i64 = 48 * HOUR;

/// How long a settled row of the outbox is kept, in milliseconds.
pub const KEEP_SETTLED: i64 = 7 * 24 * HOUR;

/// How many rows of each table one sweep forgets, so that no caller waits behind it for long.
pub const SWEEP_ROWS: usize = 1000;

pub(crate) fn take(
    rows: &mut dyn Rows,
    now: i64,
    lease_until: i64,
    limit: usize,
) -> Result<Vec<OutboxItem>, Fault> {
    let mut items = rows.outbox_ready(now, limit)?;
    for item in &mut items {
        rows.apply(&Change::OutboxLease {
            id: &item.id,
            until: lease_until,
        })?;
        item.attempts = item.attempts.saturating_add(1);
    }
    Ok(items)
}

/// False: there is no such row, or it was settled before. What is settled stays so: a sender that
/// comes late, when its lease has run out, cannot wake it up again.
pub(crate) fn settle(rows: &mut dyn Rows, id: &Id, settle: Settle) -> Result<bool, Fault> {
    if !rows.outbox_state(id)?.is_some_and(OutboxState::is_open) {
        return Ok(false);
    }
    rows.apply(&match settle {
        Settle::Done => Change::OutboxEnd {
            id,
            state: OutboxState::Done,
        },
        Settle::Retry(at) => Change::OutboxRetry { id, at },
        Settle::Dead => Change::OutboxEnd {
            id,
            state: OutboxState::Dead,
        },
    })?;
    Ok(true)
}

pub(crate) fn sweep(rows: &mut dyn Rows, now: i64) -> Result<Swept, Fault> {
    let mut swept = Swept::default();
    for (what, before) in stale(now) {
        let forgotten = rows.forget(what, before, SWEEP_ROWS)?;
        match what {
            Stale::Commands => swept.commands = forgotten,
            Stale::Attempts => swept.attempts = forgotten,
            Stale::Once => swept.once = forgotten,
            Stale::Outbox => swept.outbox = forgotten,
        }
    }
    Ok(swept)
}

/// From before when what is of no more use.
pub(crate) fn stale(now: i64) -> [(Stale, i64); 4] {
    [
        (Stale::Commands, now.saturating_sub(KEEP_COMMANDS)),
        (Stale::Attempts, now),
        (Stale::Once, now),
        (Stale::Outbox, now.saturating_sub(KEEP_SETTLED)),
    ]
}
