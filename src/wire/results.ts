/**
 * Result codes of the sheepdog protocol (reference, section 3). The texts are what `dog` prints, and what scripts and
 * other programs match: they are part of the interface. An empty text: the original has none.
 */
const rows = [
  [0x00, 'SUCCESS', 'Success'],
  [0x01, 'UNKNOWN', 'Unknown error'],
  [0x02, 'NO_OBJ', 'No object found'],
  [0x03, 'EIO', 'I/O error'],
  [0x04, 'VDI_EXIST', 'VDI exists already'],
  [0x05, 'INVALID_PARMS', 'Invalid parameters'],
  [0x06, 'SYSTEM_ERROR', 'System error'],
  [0x07, 'VDI_LOCKED', 'VDI is already locked'],
  [0x08, 'NO_VDI', 'No VDI found'],
  [0x09, 'NO_BASE_VDI', 'No base VDI found'],
  [0x0a, 'VDI_READ', 'Failed to read from requested VDI'],
  [0x0b, 'VDI_WRITE', 'Failed to write to requested VDI'],
  [0x0c, 'BASE_VDI_READ', 'Failed to read from base VDI'],
  [0x0d, 'BASE_VDI_WRITE', 'Failed to write to base VDI'],
  [0x0e, 'NO_TAG', 'Failed to find requested tag'],
  [0x0f, 'STARTUP', 'System is still booting'],
  [0x10, 'VDI_NOT_LOCKED', 'VDI is not locked'],
  [0x11, 'SHUTDOWN', 'System is shutting down'],
  [0x12, 'NO_MEM', 'Out of memory on server'],
  [0x13, 'FULL_VDI', 'Maximum number of VDIs reached'],
  [0x14, 'VER_MISMATCH', 'Protocol version mismatch'],
  [0x15, 'NO_SPACE', 'Server has no space for new objects'],
  [0x16, 'WAIT_FOR_FORMAT', 'Waiting for cluster to be formatted'],
  [0x17, 'WAIT_FOR_JOIN', 'Waiting for other nodes to join cluster'],
  [0x18, 'JOIN_FAILED', 'Node has failed to join cluster'],
  [0x19, 'HALT', 'IO has halted as there are not enough living nodes'],
  [0x1a, 'READONLY', 'Object is read-only'],
  [0x1b, 'INCOMPLETE_0_9', ''],
  [0x1c, 'COLLECTING_CINFO_0_9', ''],
  [0x1d, 'INODE_INVALIDATED', 'Inode object is invalidated'],
  [0x81, 'OLD_NODE_VER', 'Request has an old epoch'],
  [0x82, 'NEW_NODE_VER', 'Request has a new epoch'],
  [0x83, 'NOT_FORMATTED', 'Cluster has not been formatted'],
  [0x84, 'INVALID_CTIME', 'Creation times differ'],
  [0x85, 'INVALID_EPOCH', 'Invalid epoch'],
  [0x86, 'NETWORK_ERROR', 'Network error between sheep'],
  [0x87, 'NO_CACHE', 'No cache object found'],
  [0x88, 'BUFFER_SMALL', 'The buffer is too small'],
  [0x89, 'FORCE_RECOVER', 'Cluster is running/halted and cannot be force recovered'],
  [0x8a, 'NO_STORE', 'Targeted backend store is not found'],
  [0x8b, 'NO_SUPPORT', 'Operation is not supported'],
  [0x8c, 'NODE_IN_RECOVERY', 'Targeted node is in recovery'],
  [0x8d, 'KILLED', 'Node is killed'],
  [0x8e, 'OID_EXIST', 'Object ID exists already'],
  [0x8f, 'AGAIN', 'Ask to try again'],
  [0x90, 'STALE_OBJ', 'Object may be stale'],
  [0x91, 'CLUSTER_ERROR', 'Cluster driver error'],
  [0x92, 'VDI_NOT_EMPTY', ''],
  [0x93, 'NOT_FOUND', ''],
  [0x94, 'INCOMPLETE', ''],
  [0x95, 'COLLECTING_CINFO', ''],
  [0x97, 'GATEWAY_MODE', 'Targeted node is gateway mode'],
  [0x98, 'INVALID_VNODES_STRATEGY', 'Invalid cluster vnodes strategy'],
  [0x99, 'NO_CHECKPOINT_ENTRY', ''],
] as const satisfies readonly (readonly [number, string, string])[];

type Row = (typeof rows)[number];

/** Result codes by name. */
export const Result = Object.fromEntries(rows.map(([code, name]) => [name, code])) as {
  readonly [R in Row as R[1]]: R[0];
};

const byCode = new Map<number, Row>(rows.map((row) => [row[0], row]));

/** For logs: the name, or the number of an unknown code. */
export function nameOfResult(result: number): string {
  return byCode.get(result)?.[1] ?? `result 0x${result.toString(16).padStart(2, '0')}`;
}

/** What `dog` prints for it. */
export function textOfResult(result: number): string {
  return byCode.get(result)?.[2] || `Invalid error code ${result.toString(16)}`;
}
