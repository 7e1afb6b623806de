/**
 * The seeds of the fuzzer: what clients really send, recorded by the raw client itself while it plays the sequences
 * of the reference against the cluster, and one right request of every other operation.
 */

import { encodePayloadHead } from '../../src/control/frame.js';
import { objRequest } from '../../src/wire/headers.js';
import { INODE_CLIENT_BYTES } from '../../src/wire/inode.js';
import { dataOid, inodeOid } from '../../src/wire/oid.js';
import { Flag, LockType, Op, operationOf } from '../../src/wire/sheepdog.js';
import { freshConnections, SheepdogCalls } from '../helpers/sheepdog-calls.js';
import { type Address, encodeRequest } from '../helpers/sheepdog-client.js';
import { pattern } from '../helpers/sheepdog-door.js';
import { fatalOperations, rightLength } from '../helpers/sheepdog-lengths.js';
import { QemuImage, qemuCreate } from '../helpers/sheepdog-qemu.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Largest recorded frame: a mutated one is sent thousands of times. */
const FRAME_BYTES_MAX = 256 * KIB;

export interface Corpus {
  /** In the order in which they were sent. */
  readonly sessions: readonly (readonly Buffer[])[];
  readonly frames: readonly Buffer[];
  /** Of volumes that the sessions made: what mutated frames should meet. */
  readonly vids: readonly number[];
  /** Sessions that the server did not let come to their end. */
  readonly broken: readonly string[];
}

interface Recorder {
  readonly address: Address;
  readonly vids: Set<number>;
  readonly onSent: (frame: Buffer) => void;
}

type Session = (to: Recorder) => Promise<void>;

const sessions: Readonly<Record<string, Session>> = {
  async image(to) {
    const vdi = { name: 'fz-image', sizeBytes: 8 * MIB, blockSizeShift: 20 };
    await qemuCreate(to.address, vdi, to.onSent);
    const image = await QemuImage.open(to.address, vdi.name, to);
    to.vids.add(image.vid);
    await image.write(10 * KIB, pattern(1, 8 * KIB));
    await image.write(MIB - 4 * KIB, pattern(2, 8 * KIB));
    await image.read(0, 2 * MIB);
    await image.flush();
    await image.discard(1);
    await image.resize(9 * MIB);
    await image.close();
  },

  async snapshots(to) {
    const vdi = { name: 'fz-snap', sizeBytes: 4 * MIB, blockSizeShift: 20 };
    await qemuCreate(to.address, vdi, to.onSent);
    const image = await QemuImage.open(to.address, vdi.name, to);
    to.vids.add(image.vid);
    await image.write(0, pattern(3, 4 * KIB));
    await image.saveVmState(0, pattern(4, 191));
    await image.saveVmState(191, pattern(5, KIB));
    await image.snapshot('one', 1215n, 7n);
    to.vids.add(image.vid);
    await image.write(512, pattern(6, 512));
    await image.snapshot('two');
    await image.listSnapshots();
    const clone = {
      name: 'fz-clone',
      sizeBytes: 4 * MIB,
      blockSizeShift: 20,
      baseVid: image.header.parentVid,
    };
    to.vids.add((await qemuCreate(to.address, clone, to.onSent)).vid);
    await image.goto({ tag: 'one' });
    await image.loadVmState(0, 1215);
    await image.deleteSnapshot({ tag: 'two' });
    await image.close();
  },

  async tgt(to) {
    const calls = new SheepdogCalls(freshConnections(to.address, to.onSent));
    const type = LockType.shared;
    const { vid } = await calls.newVdi({ name: 'fz-tgt', sizeBytes: 2 * MIB });
    to.vids.add(vid);
    await calls.lock({ name: 'fz-tgt', type });
    await calls.readObj(inodeOid(vid), 0, INODE_CLIENT_BYTES, { flags: Flag.TGT });
    await calls.createObj(dataOid(vid, 0), 0, pattern(7, 4 * KIB), { flags: Flag.TGT });
    await calls.writeIndex(vid, 0, [vid], { flags: Flag.TGT });
    await calls.release(vid, { type });
  },

  async dog(to) {
    const calls = new SheepdogCalls(freshConnections(to.address, to.onSent));
    const { vid } = await calls.newVdi({ name: 'fz-dog', sizeBytes: 2 * MIB, copies: 1 });
    to.vids.add(vid);
    await calls.getVdiInfo({ name: 'fz-dog' });
    await calls.attribute({ name: 'fz-dog', key: 'k', value: Buffer.from('v') }, Flag.CREAT | Flag.EXCL);
    await calls.attribute({ name: 'fz-dog', key: 'k' });
    await calls.attribute({ name: 'fz-dog', key: 'k' }, Flag.DEL);
    await calls.readVdis();
    await calls.readVdis(Op.READ_DEL_VDIS);
    await calls.writeIndex(vid, 0, [0]);
    await calls.discardObj(dataOid(vid, 0));
    await calls.removeObj(dataOid(vid, 0));
    await calls.delVdi({ name: 'fz-dog' });
  },
};

/** Plays all sessions; what a session had sent until it broke is kept. */
export async function recordCorpus(address: Address): Promise<Corpus> {
  const vids = new Set<number>();
  const recorded: Buffer[][] = [];
  const broken: string[] = [];
  for (const [name, play] of Object.entries(sessions)) {
    const frames: Buffer[] = [];
    const onSent = (frame: Buffer) => {
      if (frame.length <= FRAME_BYTES_MAX) frames.push(Buffer.from(frame));
    };
    await play({ address, vids, onSent }).catch((error: Error) => broken.push(`${name}: ${error.message}`));
    recorded.push(frames);
  }
  recorded.push(oneOfEach([...vids][0] ?? 1));
  vids.delete(0);
  return { sessions: recorded, frames: recorded.flat(), vids: [...vids], broken };
}

/** A right request, or nearly, of every operation but those that end the cluster; with and without payload. */
function oneOfEach(vid: number): Buffer[] {
  const frames: Buffer[] = [];
  for (let opcode = 0; opcode < 256; opcode++) {
    const kind = operationOf(opcode)?.class;
    if (kind === undefined || fatalOperations.has(opcode)) continue;
    if (opcode === Op.CONTROL) {
      for (const method of ['cluster.info', 'node.list', 'node.stat', 'vdi.list']) {
        frames.push(
          encodeRequest({ opcode, version: 2, payload: encodePayloadHead({ method, params: {} }) }),
        );
      }
      continue;
    }
    const fields = objRequest.encode({ oid: dataOid(vid, 0) });
    const length = Math.min(rightLength(opcode), 2 * KIB);
    frames.push(encodeRequest({ opcode, fields, flags: 0, dataLength: rightLength(opcode) }));
    frames.push(encodeRequest({ opcode, fields, payload: Buffer.alloc(length) }));
  }
  return frames;
}
