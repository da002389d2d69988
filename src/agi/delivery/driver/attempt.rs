//! One attempt: what is written down before and after, and what follows for the queue.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::{Driver, Event, Link, NAP, World};
use crate::agi::delivery::decide::{self, Stop, Verdict};
use crate::agi::delivery::queue::Next;
use crate::agi::delivery::tell::{self, Told};
use crate::agi::record::{Id, Record};
use crate::agi::spool::{Begun, Folder};
use crate::rapidpro::Trouble;

impl<W: World> Driver<'_, W> {
    pub(super) fn attempt(&mut self, next: &Next) -> io::Result<()> {
        let link = match self.world.link() {
            Ok(link) => link,
            Err(fault) => {
                self.state.last_error = Some(fault.evidence.join("; "));
                self.stop(Stop::Settings, fault, NAP);
                return Ok(());
            }
        };
        let began = self.world.now();
        let record = if next.unsure {
            self.ask_after(next, &link, began)?
        } else {
            self.begin(&next.id, link.settle)?
        };
        let Some(mut record) = record else {
            return Ok(());
        };
        let times = record.times(&link.zone);
        match tell::tell(&link.api, &link.flow, &record, &times) {
            Ok(told) => self.sent(&mut record, told, false, began),
            // An attempt that may have worked stays one, however the next one ends: what was
            // lost on its way may still arrive.
            Err(untold) => self.failed(
                &mut record,
                &untold.trouble,
                next.unsure || untold.unsure,
                decide::verdict(&untold.trouble),
                &link,
            ),
        }
    }

    /// Makes it known on disk that this call is about to be sent.
    fn begin(&mut self, id: &Id, settle: Duration) -> io::Result<Option<Record>> {
        match self.spool.begin_attempt(id)? {
            Begun::Ready(record) => Ok(Some(*record)),
            Begun::Gone => {
                self.put_off(id, settle);
                Ok(None)
            }
            Begun::Damaged(damaged) => {
                self.world.tell(Event::Damaged(&damaged));
                self.forget(id);
                Ok(None)
            }
        }
    }

    /// Asks RapidPro whether it has this call. The call, if it has to be sent again.
    fn ask_after(
        &mut self,
        next: &Next,
        link: &Rc<Link<W::Api>>,
        began: Duration,
    ) -> io::Result<Option<Record>> {
        let mut record = match self.spool.read(Folder::Sending, &next.id)? {
            Some(Ok(record)) => record,
            None => {
                self.forget(&next.id);
                return Ok(None);
            }
            Some(Err(reason)) => {
                let name = format!("{}.json", next.id);
                let damaged = self.spool.set_aside(Folder::Sending, &name, &reason)?;
                self.world.tell(Event::Damaged(&damaged));
                self.forget(&next.id);
                return Ok(None);
            }
        };
        let moment = self.world.moment();
        match tell::look_up(&link.api, &link.flow, &record, &moment) {
            Ok(Some(start)) => {
                let told = Told {
                    start,
                    contact: None,
                };
                self.sent(&mut record, told, true, began)?;
                Ok(None)
            }
            Ok(None) => {
                self.spool.again(&mut record)?;
                Ok(Some(record))
            }
            Err(trouble) => {
                let verdict = match decide::verdict(&trouble) {
                    // It was the question that was refused, not the call.
                    Verdict::Dead => Verdict::Later,
                    verdict => verdict,
                };
                self.failed(&mut record, &trouble, true, verdict, link)?;
                Ok(None)
            }
        }
    }

    fn sent(
        &mut self,
        record: &mut Record,
        told: Told,
        found: bool,
        began: Duration,
    ) -> io::Result<()> {
        record.start_uuid = Some(told.start);
        record.contact = told.contact.or(record.contact.take());
        // Where this cannot be written, RapidPro will say that it has the call.
        self.spool.finish_sent(record)?;
        self.forget(&record.id);
        self.disk = None;
        self.failures = 0;
        self.failed.clear();
        self.refused.clear();
        self.gate = None;
        self.state.last_success = record.sent_at;
        self.state.last_error = None;
        if self.stopped.take().is_some() | self.state.stopped.take().is_some() {
            self.world.tell(Event::Resumed);
            self.note(true);
        }
        let took = self.world.now().saturating_sub(began);
        self.world.tell(Event::Sent {
            record,
            found,
            took,
            left: self.queue.len(),
        });
        self.note(false);
        Ok(())
    }

    fn failed(
        &mut self,
        record: &mut Record,
        trouble: &Trouble,
        unsure: bool,
        verdict: Verdict,
        link: &Rc<Link<W::Api>>,
    ) -> io::Result<()> {
        let words = trouble.words();
        self.disk = None;
        record.last_error = Some(words.clone());
        self.last_words.clone_from(&words);
        self.state.last_error = Some(words.clone());
        let number = record.number.clone().unwrap_or_default();
        let mut verdict = verdict;
        if verdict == Verdict::Dead {
            self.refused.insert(number.clone());
            if self.refused.len() >= decide::REFUSALS_FOR_STOP {
                verdict = Verdict::Stop(Stop::Refusals);
            }
        }
        if verdict == Verdict::Dead {
            self.spool.finish_dead(record, &words)?;
            self.forget(&record.id);
            self.world.tell(Event::Dead {
                record,
                why: &words,
            });
            return Ok(());
        }
        // Even if this cannot be written, the call is in sending/, which is the safe side.
        let written = if unsure {
            self.spool.keep_sending(record)
        } else {
            self.spool.back_to_waiting(record)
        };
        let unsure = unsure || written.is_err();
        let now = self.world.now();
        match verdict {
            Verdict::Dead => {}
            Verdict::Later => {
                let failures = self.queue.failures(&record.id).saturating_add(1);
                let pause = decide::pause(failures, link.retry_max, self.world.dice());
                let wait = if unsure {
                    pause.max(link.settle)
                } else {
                    pause
                };
                self.queue.postpone(&record.id, unsure, now + wait);
                self.world.tell(Event::Later {
                    record,
                    why: &words,
                    unsure,
                    wait,
                });
                self.failed.insert(number);
                if self.failed.len() >= decide::CONTACTS_FOR_DOWN {
                    self.all_later(&words, link.retry_max);
                }
            }
            Verdict::AllLater => {
                self.queue.mark(&record.id, unsure);
                self.all_later(&words, link.retry_max);
            }
            Verdict::Pause(wait) => {
                self.queue.mark(&record.id, unsure);
                match wait {
                    Some(wait) => self.close_gate(&words, wait),
                    None => self.all_later(&words, link.retry_max),
                }
            }
            Verdict::Stop(stop) => {
                self.queue.mark(&record.id, unsure);
                let fault = self.world.stop_fault(stop, &words, self.queue.len());
                self.stop(stop, Box::new(fault), link.retry_max);
            }
        }
        written
    }
}
