//! A large file on its way in: written piece by piece to a file without a name, which it gets when everything holds.

use std::sync::Arc;

use anyhow::Result;
use paramant_client::large::receive::{self, Received, Request};
use paramant_protocol::device::DeviceKeys;

use super::{Places, asks_for_a_password, receipt, sender_is, tell};
use crate::arguments::Receive;
use crate::output::{Output, Unit};

pub(super) async fn receive(
    request: &Request<'_>,
    arguments: &Receive,
    places: Places,
    expected: Option<&DeviceKeys>,
    identity: &receipt::Identity,
    output: &Output,
) -> Result<()> {
    let Places { content: place, receipt: receipt_place } = places;
    let file = Arc::new(place.file()?);
    let bar = output.bar("receiving", Unit::Bytes);
    // Should this fail, the draft vanishes with its place, and the relay keeps the view for another try.
    let received = receive::receive(request, &file, &bar.progress()).await.map_err(asks_for_a_password)?;
    let Received { size, sender, burned, receipt } = received;
    drop((bar, file));

    let hash = &arguments.hash;
    let accepted = sender_is(&sender, expected);
    let written = match accepted {
        Ok(()) => place.written(size, &format!("{hash}.content")),
        Err(_) => place.doubtful(size, &format!("{hash}.unaccepted")),
    };
    let receipt = receipt::settle(receipt, hash, identity, receipt_place);
    let out = written?;
    accepted.map_err(|error| error.context(format!("the content is kept as {}", out.display())))?;
    tell(arguments, &out, size, &sender, burned, &receipt, output)
}
