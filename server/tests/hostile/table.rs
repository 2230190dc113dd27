//! What is asserted around every row.

use std::{collections::BTreeMap, path::PathBuf};

use nibble_proto::v1::{self, Outcome, Reason};
use nibble_server::{models::name_of, store::RoundState};

use crate::{
    client::{Got, Line},
    house::{COORDINATES, Device, House, Kept, Options, layout},
    memory::Mark,
    payload::{Update, expected_model},
};

/// What a row may leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Nothing,
    /// A part of the sender's update, so that it can go on.
    Part,
    /// A report that the sender's update is refused.
    Refusal,
    /// The same, and the payload until the round ends: it is a good one.
    RefusalOfGood,
    /// A report that the sender will send nothing.
    Decline,
    /// A good update: its report and its payload.
    Update,
}

/// How things are before a row.
pub(crate) struct Before {
    kept: Kept,
    memory: Mark,
}

impl Before {
    pub(crate) fn row(house: &House) -> Self {
        let kept = house.kept();
        Self { kept, memory: Mark::now() }
    }

    /// Asserts that nothing is kept that was not, and that no more memory was needed than there is for a row.
    pub(crate) fn is_as_before(&self, house: &House, name: &str) {
        self.memory.check(name);
        assert!(house.kept() == self.kept, "{name}");
    }
}

/// A member of the cohort, on the line.
pub(crate) struct Member {
    pub(crate) device: Device,
    pub(crate) line: Line,
    pub(crate) assignment: v1::Assignment,
    /// What it would send if nobody broke it.
    pub(crate) honest: Update,
}

impl Member {
    pub(crate) fn client(&self) -> u64 {
        self.device.client
    }

    /// Sends the honest update, from wherever it broke off.
    pub(crate) async fn send_honestly(&self) -> Got {
        let offset = self.line.received(self.honest.update.clone()).await;
        self.line.upload(self.honest.parts(&self.device, offset)).await
    }
}

/// A house with a cohort, in a round that collects.
pub(crate) struct Stage {
    pub(crate) house: House,
    pub(crate) members: Vec<Member>,
    /// The members that sent their honest update.
    pub(crate) sent: Vec<usize>,
    /// What the heap held before the first row.
    pub(crate) opened: Mark,
}

impl Stage {
    /// A round with `cohort` members; client 0 is the honest one that every row is followed by.
    pub(crate) async fn open(options: Options) -> Self {
        let cohort = options.cohort as u64;
        let house = House::open(options).await;
        let mut lines = Vec::new();
        for device in house.devices(0..cohort) {
            let line = device.connect(&house).await;
            line.check_in(v1::CheckInRequest::default()).await.unwrap();
            lines.push((device, line));
        }
        let mut members = Vec::new();
        for (device, line) in lines {
            let assignment = line.assignment().await;
            let honest = Update::honest(device.client, &assignment);
            members.push(Member { device, line, assignment, honest });
        }
        Self { house, members, sent: Vec::new(), opened: Mark::now() }
    }

    pub(crate) fn honest(&self) -> &Member {
        &self.members[0]
    }

    /// Asserts that a row of this name left what it may and no more.
    pub(crate) async fn check(&self, name: &str, before: &Before, sender: u64, leaves: Leaves) {
        before.memory.check(name);
        let before = &before.kept;
        let mut after = self.house.kept();
        let added = added_reports(before, &mut after);
        let mut files = new_files(before, &after);
        let most = self.house.plan.max_payload_bytes;
        let own = |kind: &str, files: &BTreeMap<PathBuf, u64>| {
            let prefix = format!("{sender}-");
            files.iter().all(|(path, bytes)| {
                path.file_name().unwrap().to_string_lossy().starts_with(&prefix)
                    && path.extension().unwrap() == kind
                    && *bytes <= most
            })
        };
        let reported: Vec<_> = added.iter().map(|(client, kind)| (*client, kind.as_str())).collect();
        let sender_id = sender.cast_signed();
        match leaves {
            Leaves::Nothing => assert_eq!((reported, files), (vec![], BTreeMap::new()), "{name}"),
            Leaves::Part => {
                assert_eq!(reported, [], "{name}");
                assert!(files.len() <= 1 && own("part", &files), "{name}: {files:?}");
                files.clear();
            }
            Leaves::Refusal => assert_eq!((reported, files), (vec![(sender_id, "refused")], BTreeMap::new()), "{name}"),
            Leaves::RefusalOfGood => {
                assert_eq!(reported, [(sender_id, "refused")], "{name}");
                assert!(files.len() == 1 && own("payload", &files), "{name}: {files:?}");
            }
            Leaves::Decline => assert_eq!((reported, files), (vec![(sender_id, "lost")], BTreeMap::new()), "{name}"),
            Leaves::Update => {
                assert_eq!(reported, [(sender_id, "update")], "{name}");
                assert!(files.len() == 1 && own("payload", &files), "{name}: {files:?}");
            }
        }
        assert!(before.tables == after.tables, "{name}: the store has changed");
        self.check_open(name).await;
    }

    /// The round is still open, and an honest member is still served.
    async fn check_open(&self, name: &str) {
        let rounds = self.house.rounds();
        assert_eq!(rounds.last().unwrap().state, RoundState::Collecting, "{name}: the round is no longer open");
        let honest = self.honest();
        assert_eq!(honest.line.assignment().await, honest.assignment, "{name}: the honest member's assignment");
        assert_eq!(honest.line.received(honest.honest.update.clone()).await, 0, "{name}");
    }

    /// The honest member sends; once nobody is waited for, the round commits the mean of what honest members sent.
    pub(crate) async fn commit(&mut self) {
        let round = self.honest().assignment.round as usize;
        assert_eq!(self.honest().send_honestly().await, Got::Receipt(Outcome::Accepted, Reason::Unspecified));
        self.sent.push(0);
        self.house.until("the round commits", |house| house.rounds()[round].state == RoundState::Committed).await;
        let updates: Vec<_> = self.sent.iter().map(|&sent| &self.members[sent]).collect();
        let updates: Vec<_> = updates.into_iter().map(|member| (member.client(), &member.honest)).collect();
        let model = expected_model(&layout(), vec![0.0; COORDINATES], &updates);
        assert_eq!(self.house.rounds()[round].new_model, Some(name_of(&model)), "the mean of the honest updates");
        self.house.until("the spool is empty after the round", |house| house.spooled().is_empty()).await;
    }

    /// Stops the coordinator, once all rows together have left no more than a few connections.
    pub(crate) async fn close(self) {
        self.opened.check_left("all rows of the table", 1 << 20);
        self.house.close().await;
    }
}

/// Takes the reports that are new out of `after`: their clients and kinds.
fn added_reports(before: &Kept, after: &mut Kept) -> Vec<(i64, String)> {
    use rusqlite::types::Value::{Integer, Text};
    let known = &before.tables["reports"];
    let reports = after.tables.get_mut("reports").unwrap();
    let new = reports.extract_if(.., |row| !known.contains(row)).map(|row| match (&row[3], &row[5]) {
        (Integer(client), Text(kind)) => (*client, kind.clone()),
        other => panic!("the columns of reports are others: {other:?}"),
    });
    new.collect()
}

/// Files that are new or have other lengths; files that went are of no interest.
fn new_files(before: &Kept, after: &Kept) -> BTreeMap<PathBuf, u64> {
    let new = after.files.iter().filter(|(path, bytes)| before.files.get(*path) != Some(bytes));
    new.map(|(path, bytes)| (path.clone(), *bytes)).collect()
}
