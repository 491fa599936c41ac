//! What the runner is told: mail that was taken, and changes of an admin.
//!
//! Invariant: a change stands in the rows before anybody hears that it was made; but who is being
//! tried is given up when the attempt ends, for it may deliver.
//! Not here: who may ask for it (`admin`).

use grace_ipc::event::{EventKind, TraceId};
use grace_ipc::queue::{QueueChange, QueueFilter};
use grace_queue::admin::Which;

use super::{Runner, now, probe, rows, settle};
use crate::outgoing::{self, Changed, Order, list};
use crate::store::failure::Failure;
use crate::store::outgoing::{OutgoingRecipientRow, OutgoingRow};
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
                self.settlements.spawn(async { (None, told.await) });
                Ok(())
            }
            Order::Change { filter, change, by, reply } => {
                let changed = self.change(&filter, &change).await;
                if let Ok(Changed { recipients, underway }) = changed {
                    let done = change.done();
                    let event = EventKind::QueueChanged {
                        what: words(&filter),
                        change: match underway {
                            0 => done.to_owned(),
                            some => format!("{done} ({some} of them when their attempt ends)"),
                        },
                        recipients,
                        by,
                    };
                    self.services.porter.bus.emit(TraceId(0), event);
                }
                // Who asked may be gone.
                drop(reply.send(changed));
                Ok(())
            }
            Order::Test(test) => {
                self.tests.spawn(probe::run(self.services.clone(), *test));
                Ok(())
            }
            Order::Routes => rows::rerouted(&self.services, &mut self.queue, now()),
        }
    }

    async fn change(
        &mut self,
        filter: &QueueFilter,
        change: &QueueChange,
    ) -> Result<Changed, Failure> {
        let mut chosen = Vec::new();
        list::walk(&self.services.db, filter, |message, recipient| {
            chosen.push((message.id, recipient.number));
            true
        })?;
        // What is being tried is tried now; anything else comes after that.
        let waits = |&&(message, number): &&(u64, u32)| self.queue.is_tried(message, number);
        let underway = match change {
            QueueChange::Retry | QueueChange::Release => 0,
            _ => chosen.iter().filter(waits).count() as u64,
        };
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
        Ok(Changed { recipients: chosen.len() as u64, underway })
    }

    async fn reroute(&mut self, some: &[(u64, u32)], to: &str) -> Result<(), Failure> {
        const NONE: Failure = Failure::NotAllowed("that is neither a domain nor a server");
        let to = outgoing::destination(to).ok_or(NONE)?;
        self.rewrite(some, |row| row.destination.clone_from(&to)).await?;
        for &(message, number) in some {
            let row = self.services.db.snapshot().get::<OutgoingRow>(&message)?;
            let sender = row.map(|row| row.sender).unwrap_or_default();
            let next_hop = self.services.router.next_hop(&to, &sender);
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
            let numbers = group.iter().map(|&(_, number)| number);
            let (tried, numbers): (Vec<u32>, Vec<u32>) =
                numbers.partition(|&number| self.queue.is_tried(message, number));
            self.doomed.extend(tried.into_iter().map(|number| ((message, number), is_told)));
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
