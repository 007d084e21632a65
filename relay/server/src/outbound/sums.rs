//! The entries of calls whose sums are rows of the database ([`crate::store::call_rows`]).

use jiff::Timestamp;
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::OutboundPurpose;

use super::calls::{self, Calls};
use crate::log_service::LogService;
use crate::store::call_rows::{self, Caller};
use crate::store::meta::{Meta, MetaError};

impl Caller {
    fn body(self, sum: &Calls) -> Body {
        match self {
            Self::Webhooks => Body::OutboundCall(sum.body(OutboundPurpose::Webhook)),
            Self::License => Body::OutboundCall(sum.body(OutboundPurpose::License)),
            Self::Support => Body::SupportKeyUsed(sum.uses()),
        }
    }
}

/// Whether the hour of a sum is over.
pub(crate) fn over(sum: &Calls) -> bool {
    sum.hour != calls::hour_of(Timestamp::now().as_second())
}

/// Writes the entries of sums and crosses them off. One that was written and not crossed off when the process died is written once
/// more: the log may claim a call twice, it never hides one.
pub(crate) async fn record(log: &LogService, meta: &Meta, caller: Caller, which: impl Fn(&Calls) -> bool) {
    let sums = match meta.read(move |c| Ok::<_, MetaError>(call_rows::sums(c, caller)?)).await {
        Ok(sums) => sums,
        Err(error) => return tracing::error!(%error, ?caller, "calls could not be summed up"),
    };
    for sum in sums.into_iter().filter(which) {
        match log.record(caller.body(&sum)).await {
            Ok(appended) => {
                let (destination, salt) = sum.opening();
                tracing::info!(
                    ?caller,
                    destination,
                    salt,
                    count = sum.count,
                    index = appended.index,
                    "calls are summed in the log"
                );
            }
            Err(error) => return tracing::warn!(%error, ?caller, "calls have no entry yet"),
        }
        let crossed = meta.write(move |c| Ok::<_, MetaError>(call_rows::cross_off(c, caller, &sum)?)).await;
        if let Err(error) = crossed {
            tracing::warn!(%error, ?caller, "an entry about calls may be written twice");
        }
    }
}
