//! Rows that are more than a broken upload: each acts on the stage as it likes, and says what must come of it.

use std::{future::Future, pin::Pin};

use crate::{
    client::{Got, Line},
    house::{Device, Options},
    table::{
        Before,
        Leaves::{self, Nothing},
        Member, Stage,
    },
};

/// What a row does.
pub(crate) type Act<'a> = Pin<Box<dyn Future<Output = Got> + Send + 'a>>;

/// Who is there for a row to use.
pub(crate) struct Cast<'a> {
    pub(crate) stage: &'a Stage,
    /// A member of the cohort whose part in the round the row may spoil. Those of [`aside`] have the honest one, which
    /// they must not.
    pub(crate) actor: &'a Member,
    /// A device that is not of the cohort.
    pub(crate) stranger: &'a Device,
    pub(crate) strange: &'a Line,
    /// A connection without a certificate.
    pub(crate) nobody: &'a Line,
}

/// A row.
pub(crate) struct Scene {
    name: &'static str,
    expect: Got,
    /// What it leaves, if it has an actor of its own.
    leaves: Option<Leaves>,
    act: for<'a> fn(&'a Cast<'a>) -> Act<'a>,
}

/// A row that leaves nothing.
pub(crate) const fn aside(name: &'static str, expect: Got, act: for<'a> fn(&'a Cast<'a>) -> Act<'a>) -> Scene {
    Scene { name, expect, leaves: None, act }
}

/// A row with a member of the cohort of its own, which goes on honestly unless it has reported.
pub(crate) const fn by_member(
    name: &'static str,
    expect: Got,
    leaves: Leaves,
    act: for<'a> fn(&'a Cast<'a>) -> Act<'a>,
) -> Scene {
    Scene { name, expect, leaves: Some(leaves), act }
}

/// The number of the device that no cohort has.
pub(crate) const STRANGER: u64 = 900;

/// Plays all rows in one round, then lets it commit.
pub(crate) async fn play(scenes: &[Scene]) {
    let actors = scenes.iter().filter(|scene| scene.leaves.is_some()).count();
    let mut stage = Stage::open(Options::of(1 + actors)).await;
    let stranger = stage.house.device(STRANGER);
    let (strange, nobody) = (stranger.connect(&stage.house).await, stage.house.connect_nobody().await);
    let mut free = 1..;
    for Scene { name, expect, leaves, act } in scenes {
        let actor = leaves.map_or(0, |_| free.next().unwrap());
        let before = Before::row(&stage.house);
        let member = &stage.members[actor];
        let cast = Cast { stage: &stage, actor: member, stranger: &stranger, strange: &strange, nobody: &nobody };
        assert_eq!(act(&cast).await, *expect, "{name}");
        stage.check(name, &before, member.client(), leaves.unwrap_or(Nothing)).await;
        match leaves {
            Some(Nothing | Leaves::Part) => {
                assert_eq!(member.send_honestly().await, Got::Stored, "{name}: the member goes on");
                stage.sent.push(actor);
            }
            Some(Leaves::Update) => stage.sent.push(actor),
            _ => {}
        }
    }
    stage.commit().await;
    stage.close().await;
}
