//! `paramant audit`

use anyhow::Result;

use crate::arguments::Audit;
use crate::output::Output;

pub(super) async fn run(_arguments: Audit, _output: &Output) -> Result<()> {
    anyhow::bail!("the auditor is being built")
}
