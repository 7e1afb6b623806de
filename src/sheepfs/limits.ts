/** Named limits of the file system; what happens at each is said beside it. */

/** Names of volumes are at most this long; longer ones are answered with ENAMETOOLONG. */
export const NAME_BYTES_MAX = 255;
/** The stored record of a file, as JSON: what a volume's attribute may hold. Past it: ENOSPC. */
export const RECORD_BYTES_MAX = 64 * 1024;
/** One extended attribute, Linux's own limit. Past it: ERANGE by the kernel, E2BIG here. */
export const XATTR_BYTES_MAX = 48 * 1024;
/** A file that is appended to gets room in steps, so that not every append changes the volume's size. */
export const ROOM_BYTES_MIN = 4 * 1024 * 1024;
export const ROOM_BYTES_MAX = 64 * 1024 * 1024;
/** The share of its length that a growing file gets as room ahead, within the two above. */
export const ROOM_SHARE = 1 / 16;
/** One step of a copy inside the mount; two steps are under way at a time. */
export const COPY_BYTES = 1024 * 1024;
export const COPY_STEPS_MAX = 4;
/** What one COPY_FILE_RANGE copies at most, so that a program can be interrupted; a clone has no such limit. */
export const COPY_CALL_BYTES_MAX = 64 * 1024 * 1024;
/** How old the figures of statfs may be. */
export const STATFS_AGE_MS = 1000;
/** A control call that cannot be carried out now is tried again after this, for ever: that is a pause. */
export const CALL_RETRY_MS = 100;
/**
 * Snapshots never change: the kernel may keep what it knows of them for this long; a deleted one is seen that late.
 */
export const SNAPSHOT_VALID_S = 60;
/** After SIGTERM: how often it is looked whether the last file is closed. */
export const CLOSED_POLL_MS = 50;
/** How far the kernel reads ahead in a snapshot. */
export const READ_AHEAD_BYTES = 4 * 1024 * 1024;
