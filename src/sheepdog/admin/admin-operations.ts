import { assert } from '../../base/assert.js';
import { type Logger, silentLogger } from '../../base/log.js';
import { Op } from '../../wire/sheepdog.js';
import type { Operation } from '../operation.js';
import { type OperationTable, success } from './answers.js';
import { clusterChangeOperations } from './cluster-changes.js';
import type { ClusterFacts } from './cluster-facts.js';
import { clusterViewOperations } from './cluster-view.js';
import { nodeViewOperations } from './node-view.js';
import { makeRefuse, refusedOperations } from './refused.js';
import { storedObjectOperations } from './stored-objects.js';
import { vdiStateOperations } from './vdi-states.js';

/**
 * Everything that the original's `dog` asks a sheep about its cluster, and everything that its sheep ask each other, by
 * opcode (reference, 2.5 to 2.7). Operations on volumes and their objects are elsewhere. An operation answers with a
 * result code; it throws (an AppError) only when a fact or an act does.
 */
export function adminOperations(facts: ClusterFacts, log: Logger = silentLogger): Map<number, Operation> {
  const refuse = makeRefuse(log);
  const rows: OperationTable = [
    ...clusterViewOperations(facts),
    ...clusterChangeOperations(facts, refuse),
    ...nodeViewOperations(facts, refuse),
    ...storedObjectOperations(facts),
    ...vdiStateOperations(facts),
    ...refusedOperations(refuse),
    // There is no object cache, and none of deleted VDIs: nothing is left to flush or to delete.
    [Op.FLUSH_DEL_CACHE, () => success],
    [Op.DELETE_CACHE, () => success],
  ];
  const operations = new Map(rows);
  assert(operations.size === rows.length, 'an opcode is answered in one place');
  return operations;
}
