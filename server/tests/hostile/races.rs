//! One device on several connections at once: whatever they do to each other, what is kept is whole and what was signed.

use nibble_proto::v1::{UploadUpdateRequest, UploadUpdateResponse};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::StreamExt as _;
use tonic::{
    Code::{Aborted, DataLoss, FailedPrecondition},
    Response, Status,
};

use crate::{
    client::{Got, Line, of_upload},
    house::Options,
    payload::{CHUNK, chunk, chunk_range, delta, encode, header},
    table::{Before, Member, Stage},
};

/// An upload whose messages are sent one by one.
struct Call {
    parts: mpsc::UnboundedSender<UploadUpdateRequest>,
    answer: JoinHandle<Result<Response<UploadUpdateResponse>, Status>>,
}

impl Call {
    fn begin(line: &Line) -> Self {
        let (parts, mut sent) = mpsc::unbounded_channel();
        let stream = futures_util::stream::poll_fn(move |cx| sent.poll_recv(cx));
        let mut coordinator = line.coordinator.clone();
        let answer = tokio::spawn(async move { coordinator.upload_update(stream.fuse()).await });
        Self { parts, answer }
    }

    fn send(&self, parts: impl IntoIterator<Item = UploadUpdateRequest>) {
        for part in parts {
            self.parts.send(part).unwrap();
        }
    }

    /// Says that nothing follows, and waits for the answer.
    async fn end(self) -> Got {
        drop(self.parts);
        of_upload(self.answer.await.unwrap())
    }
}

/// Waits until so many bytes of the member's update have arrived.
async fn arrived(member: &Member, bytes: u64) {
    while member.line.received(member.honest.update.clone()).await != bytes {
        tokio::task::yield_now().await;
    }
}

/// An upload of all bytes but the end of the stream.
async fn whole(member: &Member) -> Call {
    let call = Call::begin(&member.line);
    call.send(member.honest.parts(&member.device, 0));
    arrived(member, member.honest.bytes.len() as u64).await;
    call
}

/// Begins the same upload as one of so many bytes, which cuts what has arrived to that.
fn cut(member: &Member, line: &Line, bytes: u64) -> Call {
    let mut head = member.honest.header(&member.device, bytes);
    head.payload_bytes = bytes;
    let call = Call::begin(line);
    call.send([header(head)]);
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_connection_wrote_is_not_taken_for_what_was_signed() {
    let mut stage = Stage::open(Options::of(2)).await;
    let before = Before::row(&stage.house);
    let member = &stage.members[1];
    let (bytes, first) = (&member.honest.bytes, chunk_range(&member.honest.bytes, 0).end);
    // Another payload, as good as the first and equal to it up to its second chunk.
    let mut other = delta(member.client(), 0);
    other[65_536..].fill(0.5);
    let other = encode(&member.assignment, &other);
    assert!(other[..first] == bytes[..first] && other != *bytes && other.len() == bytes.len());

    let signed = whole(member).await;
    let cutting = cut(member, &member.device.connect(&stage.house).await, first as u64);
    arrived(member, first as u64).await;
    let writing = Call::begin(&member.device.connect(&stage.house).await);
    writing.send([header(member.honest.header(&member.device, first as u64))]);
    writing.send(other[first..].chunks(CHUNK).zip(0..).map(|(data, i)| chunk((first + i * CHUNK) as u64, data)));
    arrived(member, bytes.len() as u64).await;

    assert_eq!(signed.end().await, Got::Status(Aborted), "the upload that was taken over");
    assert_eq!(cutting.end().await, Got::Status(Aborted), "the one after it");
    assert_eq!(writing.end().await, Got::Status(DataLoss), "the last one");
    stage.check("three connections", &before, member.client(), crate::table::Leaves::Nothing).await;
    assert_eq!(stage.members[1].send_honestly().await, Got::Stored);
    stage.sent.push(1);
    stage.commit().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_cuts_what_another_has_finished() {
    const ATTEMPTS: usize = 40;
    let mut stage = Stage::open(Options::of(1 + ATTEMPTS)).await;
    for index in 1..=ATTEMPTS {
        let member = &stage.members[index];
        let second = member.device.connect(&stage.house).await;
        let signed = whole(member).await;
        let cutting = cut(member, &second, 1_000);
        let (signed, cut) = (signed.end().await, cutting.end().await);
        assert!(
            matches!(signed, Got::Stored | Got::Status(Aborted | FailedPrecondition)),
            "the upload that is whole: {signed:?}"
        );
        assert!(
            matches!(cut, Got::Stored | Got::Status(Aborted | DataLoss | FailedPrecondition)),
            "the one that cuts: {cut:?}"
        );
        let sent = member.send_honestly().await;
        assert_eq!(sent, Got::Stored, "after {signed:?} and {cut:?}");
        stage.sent.push(index);
    }
    stage.commit().await;
    stage.close().await;
}
