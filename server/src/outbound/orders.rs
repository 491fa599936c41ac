//! What the runner is told: mail that was taken, and changes of an admin.
//!
//! Invariant: a change stands in the rows before anybody hears that it was made.
//! Not here: who may ask for it (`admin`).

use grace_ipc::event::{EventKind, TraceId};
use grace_ipc::queue::{QueueChange, QueueFilter};
use grace_queue::admin::Which;

use super::{Runner, now, rows, settle};
use crate::outgoing::{self, Order, list};
use crate::store::failure::Failure;
use crate::store::outgoing::OutgoingRecipientRow;
use gracedb::view::View as _;

/// Recipients changed in one transaction.
const AT_ONCE: usize = 1_000;

impl Runner {
    pub(super) async fn order(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Submitted(message) => {
                rows::submitted(&self.services, &mut self.queue, now(), message)
            }
            Order::Succeeded(success, message) => {
                let told = settle::succeeded(self.services.clone(), success, *message);
                self.settlements.spawn(told);
                Ok(())
            }
            Order::Change { filter, change, by, reply } => {
                let changed = self.change(&filter, &change).await;
                if let Ok(recipients) = changed {
                    let event = EventKind::QueueChanged {
                        what: words(&filter),
                        change: change.done().to_owned(),
                        recipients,
                        by,
                    };
                    self.services.porter.bus.emit(TraceId(0), event);
                }
                // Who asked may be gone.
                drop(reply.send(changed));
                Ok(())
            }
        }
    }

    async fn change(&mut self, filter: &QueueFilter, change: &QueueChange) -> Result<u64, Failure> {
        let mut chosen = Vec::new();
        list::walk(&self.services.db, filter, |message, recipient| {
            chosen.push((message.id, recipient.number));
            true
        })?;
        for some in chosen.chunks(AT_ONCE) {
            match change {
                QueueChange::Bounce => self.give_up(some, true).await?,
                QueueChange::Delete => self.give_up(some, false).await?,
                QueueChange::Hold | QueueChange::Release | QueueChange::Retry => {
                    self.rewrite(some, |row| match change {
                        QueueChange::Hold => row.held = true,
                        QueueChange::Release => (row.held, row.due_ms) = (false, now().millis()),
                        _ => row.due_ms = now().millis(),
                    })
                    .await?;
                    for &(message, number) in some {
                        let which = Which::Recipient(message, number);
                        match change {
                            QueueChange::Hold => self.queue.hold(now(), which),
                            QueueChange::Release => self.queue.release(now(), which),
                            _ => self.queue.retry_now(now(), which),
                        };
                    }
                }
                QueueChange::Reroute { to } => self.reroute(some, to).await?,
            }
        }
        Ok(chosen.len() as u64)
    }

    async fn reroute(&mut self, some: &[(u64, u32)], to: &str) -> Result<(), Failure> {
        const NONE: Failure = Failure::NotAllowed("that is neither a domain nor a server");
        let to = outgoing::destination(to).ok_or(NONE)?;
        self.rewrite(some, |row| row.destination.clone_from(&to)).await?;
        let next_hop = self.services.router.next_hop(&to);
        for &(message, number) in some {
            self.queue.reroute(now(), Which::Recipient(message, number), &next_hop);
        }
        Ok(())
    }

    /// Changes rows that are still there.
    async fn rewrite(
        &self,
        some: &[(u64, u32)],
        mut change: impl FnMut(&mut OutgoingRecipientRow),
    ) -> Result<(), Failure> {
        let pending = self.services.db.write(|tx| {
            for key in some {
                if let Some(mut row) = tx.get::<OutgoingRecipientRow>(key)? {
                    change(&mut row);
                    tx.put(&row)?;
                }
            }
            Ok::<_, Failure>(())
        })?;
        Ok(pending.await?)
    }

    async fn give_up(&mut self, some: &[(u64, u32)], is_told: bool) -> Result<(), Failure> {
        for group in some.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(message, _)) = group.first() else { continue };
            let numbers: Vec<u32> = group.iter().map(|&(_, number)| number).collect();
            for &number in &numbers {
                self.queue.remove(now(), Which::Recipient(message, number));
            }
            let services = self.services.clone();
            let told = settle::dropped(services, message, numbers, is_told).await?;
            for notification in told {
                let entered = rows::submitted(&self.services, &mut self.queue, now(), notification);
                // It is on disk: the next start sends it.
                drop(entered);
            }
        }
        Ok(())
    }
}

/// A filter as people say it.
fn words(filter: &QueueFilter) -> String {
    let QueueFilter { queue_id, sender, recipient, destination } = filter;
    let part =
        |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let parts = [
        part("message", queue_id),
        part("from", sender),
        part("to", recipient),
        part("destination", destination),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "all".to_owned() } else { parts.join(", ") }
}
