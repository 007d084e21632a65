//! Argon2id with the published parameters, in memory that is used again.
//!
//! A hash works in 19 MiB. Taken anew each time, malloc keeps such pieces for whichever thread had them: 550 MiB stayed after 64
//! hashes. So each turn has its own piece, taken when it is first needed and kept. Blocking; the caller chooses the thread.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};

use super::{Password, PasswordError};

/// Protocol section 4.1: 19 MiB, two passes, one lane.
pub(super) const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What one hash at a time works in.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} KiB)", self.0.len())
    }
}

/// The PHC string of a password, with a fresh salt.
pub(super) fn seal(password: &Password, memory: &mut Memory) -> Result<String, PasswordError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(internal)?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(internal)?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    hash(password, &salt, &params, memory, &mut output)?;
    let sealed = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(internal)?,
        salt: Some(Salt::new(&salt).map_err(internal)?),
        hash: Some(Output::new(&output).map_err(internal)?),
    };
    Ok(sealed.to_string())
}

/// Whether a PHC string is of this password, under the parameters that stand in the string. Compared in constant time.
pub(super) fn opens(sealed: &str, password: &Password, memory: &mut Memory) -> Result<bool, PasswordError> {
    let sealed = PasswordHash::new(sealed).map_err(internal)?;
    let version = u32::from(Version::V0x13);
    let (Some(salt), Some(expected)) = (sealed.salt, sealed.hash) else {
        return Err(internal("the stored hash has no salt or no output"));
    };
    if sealed.algorithm != ARGON2ID_IDENT || sealed.version != Some(version) {
        return Err(internal("the stored hash is not Argon2id, version 19"));
    }
    let params = Params::try_from(&sealed).map_err(internal)?;
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..expected.len()).ok_or_else(|| internal("the stored hash is too long"))?;
    hash(password, &salt, &params, memory, output)?;
    Ok(Output::new(output).map_err(internal)? == expected)
}

fn hash(
    password: &Password,
    salt: &[u8],
    params: &Params,
    memory: &mut Memory,
    output: &mut [u8],
) -> Result<(), PasswordError> {
    let blocks = params.block_count();
    if blocks > MEMORY_KIB as usize {
        return Err(internal("the stored hash needs more memory than this relay gives one"));
    }
    if memory.0.len() < blocks {
        memory.0.resize(blocks, Block::new());
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let blocks = memory.0.get_mut(..blocks).unwrap_or_default();
    argon2.hash_password_into_with_memory(&password.0, salt, output, blocks).map_err(internal)
}

pub(super) fn internal(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Internal(error.to_string())
}
