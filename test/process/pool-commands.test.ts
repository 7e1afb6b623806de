// deadline: 120 s
/**
 * Every `virsh pool-*` and `vol-*` command of the stock virsh, against our daemon and a real cluster. The table in
 * pool-backend/README.md is what happened here and in the slow tests beside this one; POOL_TABLE=write writes it anew.
 */
import { test } from 'uvu';
import { requires } from '../helpers/requires.js';
import { virshInPlace } from '../helpers/virsh-place.js';
import { runOwnColumn } from './pool-column-own.js';

requires(test, 'virsh')('every command of virsh for pools and volumes does what it should', () =>
  runOwnColumn('own', (_folder, socket) => virshInPlace(socket)),
);

test.run();
