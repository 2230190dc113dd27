//! Calls that are well formed and make no sense.

use std::time::Duration;

use nibble_proto::v1::{self, Outcome::Rejected, Reason::UnknownRound};
use tokio::time::timeout;
use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound, OutOfRange, PermissionDenied};

use crate::{
    client::{
        Got::{self, Answer, Held, Receipt, SendPending, Status},
        Line, of_answer, of_instruction,
    },
    payload::{CHUNK, chunk, header, sign},
    scenes::{Cast, Scene, aside, by_member, play},
    table::Leaves::{Decline, Nothing, Part},
};

/// Longer than any answer takes that is not held.
const A_WHILE: Duration = Duration::from_millis(500);

fn update(cast: &Cast<'_>, change: fn(&mut v1::UpdateRef)) -> v1::UpdateRef {
    let mut update = cast.actor.honest.update.clone();
    change(&mut update);
    update
}

async fn check_in_with(cast: &Cast<'_>, change: fn(&mut v1::UpdateRef)) -> Got {
    cast.actor.line.ask_about(update(cast, change)).await
}

/// Checks in as a device that is not of the cohort.
async fn check_in(cast: &Cast<'_>, request: v1::CheckInRequest) -> Got {
    of_instruction(cast.strange.check_in(request).await)
}

fn allowed(allowance: v1::Allowance) -> v1::CheckInRequest {
    v1::CheckInRequest { allowance: Some(allowance), ..Default::default() }
}

async fn get_upload(line: &Line, update: Option<v1::UpdateRef>) -> Result<u64, tonic::Status> {
    let asked = line.coordinator.clone().get_upload(v1::GetUploadRequest { update }).await;
    asked.map(|response| response.into_inner().offset)
}

/// Asks where an upload stands that nothing has arrived of.
async fn get_nothing(line: &Line, update: v1::UpdateRef) -> Got {
    let offset = get_upload(line, Some(update)).await;
    if let Ok(offset) = &offset {
        assert_eq!(*offset, 0);
    }
    of_answer(offset)
}

/// Fetches a model to its end.
async fn download(cast: &Cast<'_>, change: impl Fn(&mut v1::DownloadModelRequest, u64)) -> Got {
    let model = cast.actor.assignment.model.clone().unwrap();
    let mut request = v1::DownloadModelRequest { sha256: model.sha256, offset: 0, ..Default::default() };
    change(&mut request, model.frame_bytes);
    let fetch = async {
        let mut frames = cast.actor.line.coordinator.clone().download_model(request).await?.into_inner();
        while frames.message().await?.is_some() {}
        Ok(())
    };
    of_answer(fetch.await)
}

async fn decline(line: &Line, update: v1::UpdateRef, reason: String) -> Got {
    let request = v1::DeclineRequest { run: update.run, round: update.round, reason };
    of_answer(line.coordinator.clone().decline(request).await)
}

const SCENES: &[Scene] = &[
    // CheckIn.
    aside("pending: a digest of 31 bytes", Status(InvalidArgument), |cast| {
        Box::pin(check_in_with(cast, |update| update.payload_sha256.truncate(31)))
    }),
    aside("pending: no digest", Status(InvalidArgument), |cast| {
        Box::pin(check_in_with(cast, |update| update.payload_sha256.clear()))
    }),
    aside("pending: nothing at all", Status(InvalidArgument), |cast| {
        Box::pin(cast.actor.line.ask_about(v1::UpdateRef::default()))
    }),
    aside("pending: a run of no name", Status(InvalidArgument), |cast| {
        Box::pin(check_in_with(cast, |update| update.run.clear()))
    }),
    aside("pending: a run's name of 10,000 bytes", Status(InvalidArgument), |cast| {
        Box::pin(check_in_with(cast, |update| update.run = "x".repeat(10_000)))
    }),
    aside("pending: a run's name of control characters", Receipt(Rejected, UnknownRound), |cast| {
        Box::pin(check_in_with(cast, |update| update.run = "\0\x1b[2J\r\n".into()))
    }),
    aside("pending: an unknown run", Receipt(Rejected, UnknownRound), |cast| {
        Box::pin(check_in_with(cast, |update| update.run = "other".into()))
    }),
    aside("pending: an unknown round", Receipt(Rejected, UnknownRound), |cast| {
        Box::pin(check_in_with(cast, |update| update.round = 77))
    }),
    aside("pending: round 2^64 - 1", Receipt(Rejected, UnknownRound), |cast| {
        Box::pin(check_in_with(cast, |update| update.round = u64::MAX))
    }),
    aside("pending: round 2^63", Receipt(Rejected, UnknownRound), |cast| {
        Box::pin(check_in_with(cast, |update| update.round = 1 << 63))
    }),
    aside("pending: another digest than will be sent", SendPending, |cast| {
        Box::pin(check_in_with(cast, |update| update.payload_sha256 = vec![9; 32].into()))
    }),
    aside("pending: a member's update, asked by a stranger", Receipt(Rejected, v1::Reason::NotSelected), |cast| {
        Box::pin(cast.strange.ask_about(update(cast, |_| ())))
    }),
    aside("hold_ms = 2^32 - 1", Held, |cast| {
        Box::pin(async {
            let held =
                cast.strange.check_in(v1::CheckInRequest { pending: None, hold_ms: u32::MAX, ..Default::default() });
            timeout(A_WHILE, held).await.map_or(Held, of_instruction)
        })
    }),
    aside("a held model of 31 bytes", Status(InvalidArgument), |cast| {
        Box::pin(check_in(cast, v1::CheckInRequest { held_sha256: vec![7; 31].into(), ..Default::default() }))
    }),
    aside("a held model of 90,000 bytes", Status(InvalidArgument), |cast| {
        Box::pin(check_in(cast, v1::CheckInRequest { held_sha256: vec![7; 90_000].into(), ..Default::default() }))
    }),
    aside("a held model that nobody knows", Answer, |cast| {
        Box::pin(check_in(cast, v1::CheckInRequest { held_sha256: vec![7; 32].into(), ..Default::default() }))
    }),
    aside("no byte left for anything", Answer, |cast| {
        let (none, renews_in_s) = (Some(0), Some(u32::MAX));
        let allowance = v1::Allowance { up: none, down: none, up_in_run: none, down_in_run: none, renews_in_s };
        Box::pin(check_in(cast, allowed(allowance)))
    }),
    aside("2^64 - 1 bytes left", Answer, |cast| {
        let (all, renews_in_s) = (Some(u64::MAX), Some(0));
        let allowance = v1::Allowance { up: all, down: all, up_in_run: all, down_in_run: all, renews_in_s };
        Box::pin(check_in(cast, allowed(allowance)))
    }),
    aside("two hundred check-ins at once", Answer, |cast| {
        Box::pin(async {
            let ask =
                || cast.strange.check_in(v1::CheckInRequest { pending: None, hold_ms: 50_000, ..Default::default() });
            let mut all = futures_util::future::join_all((0..200).map(|_| ask()));
            // Each takes the place of the one before; the last is held.
            let _ = timeout(A_WHILE, &mut all).await;
            drop(all);
            of_instruction(cast.strange.check_in(v1::CheckInRequest::default()).await)
        })
    }),
    // GetUpload.
    aside("where stands nothing", Status(InvalidArgument), |cast| {
        Box::pin(async { of_answer(get_upload(&cast.actor.line, None).await) })
    }),
    aside("where stands a digest of 31 bytes", Status(InvalidArgument), |cast| {
        Box::pin(get_nothing(&cast.actor.line, update(cast, |update| update.payload_sha256.truncate(31))))
    }),
    aside("where stands a run named like a path", Answer, |cast| {
        Box::pin(get_nothing(&cast.actor.line, update(cast, |update| update.run = "../../state".into())))
    }),
    aside("where stands round 2^64 - 1", Answer, |cast| {
        Box::pin(get_nothing(&cast.actor.line, update(cast, |update| update.round = u64::MAX)))
    }),
    aside("where stands an unknown digest", Answer, |cast| {
        Box::pin(get_nothing(&cast.actor.line, update(cast, |update| update.payload_sha256 = vec![9; 32].into())))
    }),
    by_member("where stands another's upload", Answer, Part, |cast| {
        Box::pin(async {
            begin(cast).await;
            get_nothing(cast.strange, update(cast, |_| ())).await
        })
    }),
    // DownloadModel.
    aside("a model of 31 bytes", Status(InvalidArgument), |cast| {
        Box::pin(download(cast, |request, _| request.sha256.truncate(31)))
    }),
    aside("a model of no name", Status(InvalidArgument), |cast| {
        Box::pin(download(cast, |request, _| request.sha256.clear()))
    }),
    aside("an unknown model", Status(NotFound), |cast| {
        Box::pin(download(cast, |request, _| request.sha256 = vec![9; 32].into()))
    }),
    aside("a model from its end on", Answer, |cast| Box::pin(download(cast, |request, bytes| request.offset = bytes))),
    aside("a model from behind its end on", Status(OutOfRange), |cast| {
        Box::pin(download(cast, |request, bytes| request.offset = bytes + 1))
    }),
    aside("a model from byte 2^64 - 1 on", Status(OutOfRange), |cast| {
        Box::pin(download(cast, |request, _| request.offset = u64::MAX))
    }),
    aside("the way from a model of 31 bytes", Status(InvalidArgument), |cast| {
        Box::pin(download(cast, |request, _| request.base_sha256 = vec![7; 31].into()))
    }),
    aside("the way from an unknown model", Status(NotFound), |cast| {
        Box::pin(download(cast, |request, _| request.base_sha256 = vec![7; 32].into()))
    }),
    aside("the way from a model to itself, where no model goes out as changes", Status(NotFound), |cast| {
        Box::pin(download(cast, |request, _| request.base_sha256 = request.sha256.clone()))
    }),
    aside("a model that is never read", Answer, |cast| {
        Box::pin(async {
            let sha256 = cast.actor.assignment.model.clone().unwrap().sha256;
            let request = v1::DownloadModelRequest { sha256, offset: 0, ..Default::default() };
            // As many as a connection has place for at a time.
            let line = cast.stranger.connect(&cast.stage.house).await;
            let mut unread = Vec::new();
            for _ in 0..16 {
                unread.push(line.coordinator.clone().download_model(request.clone()).await);
            }
            of_answer(unread.pop().unwrap())
        })
    }),
    // Decline.
    by_member("a decline of an unknown run", Answer, Nothing, |cast| {
        Box::pin(decline(&cast.actor.line, update(cast, |update| update.run = "other".into()), String::new()))
    }),
    by_member("a decline of an unknown round", Answer, Nothing, |cast| {
        Box::pin(decline(&cast.actor.line, update(cast, |update| update.round = u64::MAX), String::new()))
    }),
    by_member("a decline of a run of no name", Status(InvalidArgument), Nothing, |cast| {
        Box::pin(decline(&cast.actor.line, update(cast, |update| update.run.clear()), String::new()))
    }),
    by_member("a decline of a run of 10,000 bytes", Status(InvalidArgument), Nothing, |cast| {
        Box::pin(decline(&cast.actor.line, update(cast, |update| update.run = "x".repeat(10_000)), String::new()))
    }),
    by_member("a decline with a reason of 1 MB", Status(OutOfRange), Nothing, |cast| {
        Box::pin(decline(&cast.actor.line, update(cast, |_| ()), "x".repeat(1_000_000)))
    }),
    by_member("a decline by a stranger", Answer, Nothing, |cast| {
        Box::pin(decline(cast.strange, update(cast, |_| ()), String::new()))
    }),
    by_member("a decline with a reason of 90,000 bytes", Answer, Decline, |cast| {
        Box::pin(async {
            let got = decline(&cast.actor.line, update(cast, |_| ()), "ü".repeat(45_000)).await;
            let reports = cast.stage.house.reports(0);
            assert_eq!(reports.last().unwrap().detail.as_ref().unwrap().len(), 200);
            got
        })
    }),
    by_member("a decline twice, and an update after it", Receipt(Rejected, v1::Reason::NotSelected), Decline, |cast| {
        Box::pin(async {
            for _ in 0..2 {
                assert_eq!(decline(&cast.actor.line, update(cast, |_| ()), "no".into()).await, Answer);
            }
            cast.actor.send_honestly().await
        })
    }),
    by_member("a decline after the update", Answer, crate::table::Leaves::Update, |cast| {
        Box::pin(async {
            assert_eq!(cast.actor.send_honestly().await, Got::Stored);
            decline(&cast.actor.line, update(cast, |_| ()), "too late".into()).await
        })
    }),
    // Uploads of those who should not.
    aside("an update of a stranger", Receipt(Rejected, v1::Reason::NotSelected), |cast| {
        Box::pin(cast.strange.upload(cast.actor.honest.parts(cast.stranger, 0)))
    }),
    by_member("another's upload, gone on with under its signature", Status(PermissionDenied), Part, |cast| {
        Box::pin(async {
            let offset = begin(cast).await;
            cast.strange.upload(cast.actor.honest.parts(&cast.actor.device, offset)).await
        })
    }),
    by_member("a member's upload, gone on with by another", Status(FailedPrecondition), Part, |cast| {
        Box::pin(async {
            let offset = begin(cast).await;
            let honest = cast.stage.honest();
            let parts = cast.actor.honest.parts(&honest.device, offset);
            let got = honest.line.upload(parts).await;
            assert_eq!(cast.actor.line.received(update(cast, |_| ())).await, offset, "the member's part is as it was");
            // What the other began in its own name must not stay in the way of what it means to send.
            let mut own = cast.actor.honest.header(&honest.device, 0);
            own.update = Some(honest.honest.update.clone());
            own.signature = sign(&honest.device, &honest.honest.update).into();
            assert_eq!(honest.line.upload(vec![header(own)]).await, Status(FailedPrecondition));
            forget_part(cast, honest.client());
            got
        })
    }),
    by_member("an upload given up a hundred times", Answer, Part, |cast| {
        Box::pin(async {
            for round in 0..100 {
                give_up(cast, round * 100, &[100]).await;
            }
            Answer
        })
    }),
    by_member("an upload begun for ten payloads in turn", Status(FailedPrecondition), Part, |cast| {
        Box::pin(async {
            let mut got = Answer;
            for salt in 0..10 {
                let mut other = update(cast, |_| ());
                other.payload_sha256 = vec![salt; 32].into();
                let mut head = cast.actor.honest.header(&cast.actor.device, 0);
                head.signature = sign(&cast.actor.device, &other).into();
                head.update = Some(other);
                got = cast.actor.line.upload(vec![header(head), chunk(0, &[salt; CHUNK])]).await;
            }
            got
        })
    }),
];

/// Sends two chunks of the actor's update and breaks off; gives the bytes that arrived.
async fn begin(cast: &Cast<'_>) -> u64 {
    let mut parts = cast.actor.honest.parts(&cast.actor.device, 0);
    parts.truncate(3);
    assert_eq!(cast.actor.line.upload(parts).await, Status(FailedPrecondition));
    2 * CHUNK as u64
}

/// Goes on with the actor's update from `offset`, by chunks of these lengths, and drops the call once they arrived.
async fn give_up(cast: &Cast<'_>, offset: u64, lengths: &[usize]) {
    let honest = &cast.actor.honest;
    let mut parts = vec![header(honest.header(&cast.actor.device, offset))];
    let mut end = offset as usize;
    for length in lengths {
        parts.push(chunk(end as u64, &honest.bytes[end..end + length]));
        end += length;
    }
    let endless = tokio_stream::StreamExt::chain(tokio_stream::iter(parts), tokio_stream::pending());
    let mut coordinator = cast.actor.line.coordinator.clone();
    let call = tokio::spawn(async move { coordinator.upload_update(endless).await.map(drop) });
    while cast.actor.line.received(honest.update.clone()).await < end as u64 {
        assert!(!call.is_finished(), "the call has an answer: {:?}", call.await);
        tokio::task::yield_now().await;
    }
    call.abort();
}

/// Removes a part that the table's driver would not expect.
fn forget_part(cast: &Cast<'_>, client: u64) {
    let prefix = format!("{client}-");
    for path in cast.stage.house.spooled().into_keys() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".part") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_make_no_sense_change_nothing() {
    play(SCENES).await;
}
