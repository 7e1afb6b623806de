/**
 * Operations of the sheepdog protocol (reference, section 2.2), as one table.
 *
 * Class: who executes it in the original.
 *   gateway  the node that received it, with the nodes of the object     peer     the addressed node, its store only
 *   local    the node that received it                                   cluster  one at a time in the whole cluster
 *   notify   every node, in one order                                    gone     not served: INVALID_PARMS
 * Marks: F = served while the cluster waits for format or members; A = logged as an act of the administrator.
 */
export type OperationClass = 'gateway' | 'peer' | 'local' | 'cluster' | 'notify' | 'gone';

export interface Operation {
  readonly opcode: number;
  readonly name: string;
  readonly class: OperationClass;
  /** Served while the cluster waits for format or for members. */
  readonly force: boolean;
  /** Logged at info level on entry and exit. */
  readonly admin: boolean;
}

const rows = [
  [0x01, 'CREATE_AND_WRITE_OBJ', 'gateway', ''],
  [0x02, 'READ_OBJ', 'gateway', ''],
  [0x03, 'WRITE_OBJ', 'gateway', ''],
  [0x04, 'REMOVE_OBJ', 'gateway', ''],
  [0x05, 'DISCARD_OBJ', 'local', ''],
  [0x11, 'NEW_VDI', 'cluster', 'A'],
  [0x12, 'LOCK_VDI', 'cluster', ''],
  [0x13, 'RELEASE_VDI', 'cluster', ''],
  [0x14, 'GET_VDI_INFO', 'cluster', ''],
  [0x15, 'READ_VDIS', 'local', 'F'],
  [0x16, 'FLUSH_VDI', 'local', ''],
  [0x17, 'DEL_VDI', 'cluster', 'A'],
  [0x18, 'GET_CLUSTER_DEFAULT', 'local', 'F'],
  [0x82, 'GET_NODE_LIST', 'local', 'F'],
  [0x84, 'MAKE_FS', 'notify', 'FA'],
  [0x85, 'SHUTDOWN', 'notify', 'FA'],
  [0x86, 'STAT_SHEEP', 'local', ''],
  [0x87, 'STAT_CLUSTER', 'local', 'F'],
  [0x89, 'GET_VDI_ATTR', 'cluster', ''],
  [0x8a, 'FORCE_RECOVER', 'cluster', 'FA'],
  [0x90, 'GET_STORE_LIST', 'local', 'F'],
  [0x91, 'SNAPSHOT', 'gone', ''],
  [0x92, 'RESTORE', 'gone', ''],
  [0x93, 'GET_SNAP_FILE', 'gone', ''],
  [0x94, 'CLEANUP', 'notify', 'F'],
  [0x95, 'TRACE_STATUS', 'local', 'F'],
  [0x96, 'TRACE_READ_BUF', 'local', 'F'],
  [0x97, 'STAT_RECOVERY', 'local', ''],
  [0x98, 'FLUSH_DEL_CACHE', 'local', ''],
  [0x99, 'NOTIFY_VDI_DEL', 'notify', 'F'],
  [0x9a, 'KILL_NODE', 'local', 'FA'],
  [0x9b, 'TRACE_ENABLE', 'local', 'F'],
  [0x9c, 'TRACE_DISABLE', 'local', 'F'],
  [0xa1, 'GET_OBJ_LIST', 'local', ''],
  [0xa2, 'GET_EPOCH', 'local', ''],
  [0xa3, 'CREATE_AND_WRITE_PEER', 'peer', ''],
  [0xa4, 'READ_PEER', 'peer', ''],
  [0xa5, 'WRITE_PEER', 'peer', ''],
  [0xa6, 'REMOVE_PEER', 'peer', ''],
  [0xa8, 'ENABLE_RECOVER', 'notify', 'A'],
  [0xa9, 'DISABLE_RECOVER', 'notify', 'A'],
  [0xab, 'GET_VDI_COPIES', 'local', 'F'],
  [0xac, 'COMPLETE_RECOVERY', 'notify', 'F'],
  [0xad, 'FLUSH_NODES', 'gone', ''],
  [0xae, 'FLUSH_PEER', 'gone', ''],
  [0xaf, 'NOTIFY_VDI_ADD', 'notify', 'F'],
  [0xb0, 'DELETE_CACHE', 'notify', ''],
  [0xb1, 'MD_INFO', 'local', ''],
  [0xb2, 'MD_PLUG', 'local', 'A'],
  [0xb3, 'MD_UNPLUG', 'local', 'A'],
  [0xb4, 'GET_HASH', 'local', ''],
  [0xb5, 'REWEIGHT', 'notify', 'A'],
  [0xb6, 'GET_CACHE_INFO', 'gone', ''],
  [0xb7, 'CACHE_PURGE', 'gone', ''],
  [0xb8, 'STAT', 'local', ''],
  [0xb9, 'GET_LOGLEVEL', 'local', 'F'],
  [0xba, 'SET_LOGLEVEL', 'local', 'F'],
  [0xbb, 'NFS_CREATE', 'local', ''],
  [0xbc, 'NFS_DELETE', 'local', ''],
  [0xbd, 'EXIST', 'local', 'F'],
  [0xbe, 'CLUSTER_INFO', 'local', 'F'],
  [0xbf, 'ALTER_CLUSTER_COPY', 'notify', 'A'],
  [0xc0, 'ALTER_VDI_COPY', 'notify', 'A'],
  [0xc1, 'DECREF_OBJ', 'gateway', ''],
  [0xc2, 'DECREF_PEER', 'peer', ''],
  [0xc3, 'PREVENT_INODE_UPDATE', 'gone', ''],
  [0xc4, 'ALLOW_INODE_UPDATE', 'gone', ''],
  [0xc5, 'REPAIR_REPLICA', 'local', ''],
  [0xc6, 'OIDS_EXIST', 'local', 'F'],
  [0xc7, 'VDI_STATE_CHECKPOINT_CTL', 'local', ''],
  [0xc8, 'INODE_COHERENCE', 'notify', ''],
  [0xc9, 'READ_DEL_VDIS', 'local', 'F'],
  [0xca, 'GET_RECOVERY', 'local', 'F'],
  [0xcb, 'SET_RECOVERY', 'local', 'F'],
  [0xcc, 'SET_VNODES', 'local', ''],
  [0xcd, 'GET_VNODES', 'local', ''],
  /** Ours: the control interface of `dog`, src/control/api.ts. Far above the original's last opcode. */
  [0xe0, 'CONTROL', 'local', 'F'],
] as const satisfies readonly (readonly [number, string, OperationClass, string])[];

type Row = (typeof rows)[number];

/** Opcodes by name. */
export const Op = Object.fromEntries(rows.map(([opcode, name]) => [name, opcode])) as {
  readonly [R in Row as R[1]]: R[0];
};

const byOpcode: (Operation | undefined)[] = new Array(256).fill(undefined);
for (const [opcode, name, kind, marks] of rows) {
  byOpcode[opcode] = {
    opcode,
    name,
    class: kind,
    force: marks.includes('F'),
    admin: marks.includes('A'),
  };
}

/** The operation of an opcode; undefined when there is none (never an index past the table). */
export function operationOf(opcode: number): Operation | undefined {
  return byOpcode[opcode];
}

/** For logs: the name, or the number of an unknown opcode. */
export function nameOfOpcode(opcode: number): string {
  return byOpcode[opcode]?.name ?? `opcode 0x${opcode.toString(16).padStart(2, '0')}`;
}
