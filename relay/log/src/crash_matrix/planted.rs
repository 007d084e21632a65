//! Wrong disks and wrong orders, planted to see that the matrix finds each: a matrix that finds nothing proves nothing.

use super::vfs::Defect;
use super::workload::{BURST, LIFE, Step};
use super::{Matrix, alone, record};

/// Runs the kill matrix over a workload whose disk has a defect, until it is found and said to be what it is.
#[track_caller]
fn assert_found(defect: Defect, steps: &[Step], what: &'static str) {
    let mut matrix = Matrix { wanted: Some(what), ..Matrix::default() };
    matrix.kill_everywhere(&record(steps, Some(defect)));
    let Some(found) = matrix.failures.last().filter(|found| found.contains(what)) else {
        panic!(
            "{defect:?}: none of {} findings says {what:?}: {:?}",
            matrix.failures.len(),
            matrix.failures.first()
        )
    };
    println!("crash matrix, planted {defect:?}: found in case {}: {found}", matrix.cases);
}

#[test]
fn batches_that_are_acknowledged_without_a_sync_are_found() {
    if alone("planted::batches_that_are_acknowledged_without_a_sync_are_found") {
        assert_found(Defect::BatchSyncSkipped, LIFE, "is gone");
    }
}

#[test]
fn acknowledging_and_signing_before_the_sync_is_found() {
    if alone("planted::acknowledging_and_signing_before_the_sync_is_found") {
        assert_found(Defect::BatchSyncLate, LIFE, "is gone");
        assert_found(Defect::BatchSyncLate, LIFE, "was signed and is no prefix");
    }
}

#[test]
fn a_segment_whose_name_is_not_durable_is_found() {
    if alone("planted::a_segment_whose_name_is_not_durable_is_found") {
        assert_found(Defect::SegmentNameNotSynced, LIFE, "is gone");
    }
}

#[test]
fn a_checkpoint_renamed_before_its_sync_is_found() {
    if alone("planted::a_checkpoint_renamed_before_its_sync_is_found") {
        assert_found(Defect::CheckpointRenamedBeforeSync, LIFE, "checkpoint");
    }
}

#[test]
fn a_checkpoint_shown_before_its_name_is_durable_is_found() {
    if alone("planted::a_checkpoint_shown_before_its_name_is_durable_is_found") {
        assert_found(Defect::CheckpointNameNotSynced, LIFE, "was published, now it is");
    }
}

#[test]
fn a_tail_that_start_does_not_make_durable_is_found() {
    if alone("planted::a_tail_that_start_does_not_make_durable_is_found") {
        assert_found(Defect::CopiedTailNotSynced, LIFE, "Open: ");
    }
}

#[test]
fn segments_removed_before_their_tiles_are_durable_are_found() {
    if alone("planted::segments_removed_before_their_tiles_are_durable_are_found") {
        for steps in [LIFE, BURST] {
            assert_found(Defect::TilesNotSynced, steps, "tile");
            assert_found(Defect::TileNamesNotSynced, steps, "tile");
        }
    }
}

#[test]
fn reserved_room_that_a_sync_does_not_make_durable_is_found() {
    if alone("planted::reserved_room_that_a_sync_does_not_make_durable_is_found") {
        assert_found(Defect::ReservedLengthNotSynced, LIFE, "Open: ");
        assert_found(Defect::ReservedStaysUnwritten, LIFE, "was signed and is no prefix");
    }
}

#[test]
fn reserved_room_that_does_not_read_as_zeros_is_found() {
    if alone("planted::reserved_room_that_does_not_read_as_zeros_is_found") {
        assert_found(Defect::ReservedShowsOldBytes, LIFE, "says it was complete");
    }
}
