//! Making a policy, and writing it in its one form.

use super::parse::Draft;
use super::{Component, Group, Log, NONE, Policy, PolicyError, Problem, Witness};
use crate::vkey::VerifierKey;

/// The name of the group that [`Policy::threshold`] makes.
const GROUP: &str = "quorum-of-witnesses";

impl Policy {
    /// The policy of these logs that asks for `threshold` of these witnesses; zero asks for none.
    ///
    /// # Errors
    /// When a name or address cannot stand in a policy, a key is of a wrong type or there twice, or there are not so many
    /// witnesses. Such an error bears line zero.
    pub fn threshold(
        logs: impl IntoIterator<Item = Log>,
        witnesses: impl IntoIterator<Item = Witness>,
        threshold: usize,
    ) -> Result<Self, PolicyError> {
        let mut draft = Draft::default();
        fill(&mut draft, logs, witnesses, threshold)
            .map_err(|problem| PolicyError::Line { line: 0, problem })?;
        draft.finish()
    }

    /// The text, which [`Policy::parse`] reads back. Comments of a text that was read are not kept.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let url = |url: &Option<String>| url.as_ref().map(|url| format!(" {url}")).unwrap_or_default();
        for log in &self.logs {
            text.push_str(&format!("log {}{}\n", log.key, url(&log.url)));
        }
        for witness in &self.witnesses {
            text.push_str(&format!("witness {} {}{}\n", witness.name, witness.key, url(&witness.url)));
        }
        for group in &self.groups {
            let members: Vec<&str> = group.members.iter().map(|member| self.name(*member)).collect();
            text.push_str(&format!(
                "group {} {} {}\n",
                group.name,
                group.threshold_word(),
                members.join(" ")
            ));
        }
        let quorum = self.quorum.map_or(NONE, |quorum| self.name(quorum));
        text.push_str(&format!("quorum {quorum}\n"));
        text
    }

    fn name(&self, component: Component) -> &str {
        let name = match component {
            Component::Witness(number) => self.witnesses.get(number).map(|witness| &witness.name),
            Component::Group(number) => self.groups.get(number).map(|group| &group.name),
        };
        name.map_or(NONE, String::as_str) // total: components are numbers of what was defined
    }
}

impl Group {
    fn threshold_word(&self) -> String {
        match self.threshold {
            all if all == self.members.len() => "all".to_owned(),
            1 => "any".to_owned(),
            some => some.to_string(),
        }
    }
}

fn fill(
    draft: &mut Draft,
    logs: impl IntoIterator<Item = Log>,
    witnesses: impl IntoIterator<Item = Witness>,
    threshold: usize,
) -> Result<(), Problem> {
    for log in logs {
        key(&log.key)?;
        draft.log(log.key, address(&log.url)?)?;
    }
    let mut names = Vec::new();
    for witness in witnesses {
        key(&witness.key)?;
        word(&witness.name)?;
        draft.witness(&witness.name, witness.key, address(&witness.url)?)?;
        names.push(witness.name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match (threshold, names.as_slice()) {
        (0, _) => draft.quorum(NONE),
        (1, [only]) => draft.quorum(only),
        (threshold, members) => {
            draft.group(GROUP, &threshold.to_string(), members)?;
            draft.quorum(GROUP)
        }
    }
}

/// A key's name has no Unicode white space; a byte that is a control character for a policy it may still hold.
fn key(key: &VerifierKey) -> Result<(), Problem> {
    word(key.name()).map(drop)
}

fn address(url: &Option<String>) -> Result<Option<&str>, Problem> {
    url.as_deref().map(word).transpose()
}

/// Whether something can be one word of a line.
fn word(text: &str) -> Result<&str, Problem> {
    let breaks = |byte: u8| byte == b' ' || byte.is_ascii_control();
    if text.is_empty() || text.starts_with('#') || text.bytes().any(breaks) {
        return Err(Problem::Unwritable(text.to_owned()));
    }
    Ok(text)
}
