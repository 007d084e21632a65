//! A directory as one zip: members stored as they are, so that a reader finds each in place.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::durable::fault;
use crate::error::ClientError;

/// Above this a member needs the long form of its lengths.
const LARGE: u64 = u32::MAX as u64;

/// Writes all files of a directory into a zip, under their names relative to it, in their order. The zip appears whole.
///
/// # Errors
/// When a file cannot be read or the zip cannot be written.
pub fn pack(directory: &Path, target: &Path) -> Result<usize, ClientError> {
    let failed = |error: io::Error| fault("write", target, error);
    let draft = target.with_added_extension("draft");
    let file = File::create(&draft).map_err(|error| fault("write", &draft, error))?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.sort();
    for path in &files {
        let name = path.strip_prefix(directory).unwrap_or(path).to_string_lossy().into_owned();
        let mut source = File::open(path).map_err(|error| fault("open", path, error))?;
        let length = source.metadata().map_err(|error| fault("read", path, error))?.len();
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(length >= LARGE);
        zip.start_file(name, options).map_err(|error| failed(io::Error::other(error)))?;
        io::copy(&mut source, &mut zip).map_err(failed)?;
    }
    let mut file = zip.finish().map_err(|error| failed(io::Error::other(error)))?;
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)?;
    fs::rename(&draft, target).map_err(failed)?;
    crate::durable::sync_directory(target)?;
    Ok(files.len())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), ClientError> {
    let failed = |error| fault("read", directory, error);
    for item in fs::read_dir(directory).map_err(failed)? {
        let item = item.map_err(failed)?;
        if item.file_type().map_err(failed)?.is_dir() {
            collect(&item.path(), files)?;
        } else {
            files.push(item.path());
        }
    }
    Ok(())
}
