/**
 * C Sheepdog, which no present distribution packages: by the binaries that the command line names. Three sheep on one
 * machine that find each other by a file, each writing with O_DSYNC, as is its default.
 */
import { mkdirSync } from 'node:fs';
import { freePorts } from '../../helpers/launcher.js';
import { runClient } from '../clients.js';
import { type Target, VOLUME } from '../targets.js';
import { type PeerDaemons, withDaemons } from './daemons.js';

const SHEEP = 3;
const START_DEADLINE_MS = 30_000;

export interface SheepdogPrograms {
  readonly sheep: string;
  readonly dog: string;
  /** Of a QEMU up to 6.0, the last one with the driver. */
  readonly qemuImg: string;
}

export function startSheepdog(sizeBytes: number, programs: SheepdogPrograms): Promise<Target> {
  return withDaemons((daemons) => startIn(daemons, sizeBytes, programs));
}

async function startIn(daemons: PeerDaemons, sizeBytes: number, programs: SheepdogPrograms): Promise<Target> {
  const port = await freePorts(SHEEP);
  const dog = (...words: string[]) => runClient(programs.dog, [...words, '-a', '127.0.0.1', '-p', `${port}`]);
  const pids: number[] = [];
  for (let index = 0; index < SHEEP; index++) {
    const store = daemons.path(`store${index}`);
    mkdirSync(store);
    pids.push(daemons.start(`sheep${index}`, programs.sheep, sheepWords(daemons.folder, port, index)));
  }
  await daemons.ready(START_DEADLINE_MS, 'three sheep are there', async () => {
    const list = await dog('node', 'list', '-r');
    return list.trim().split('\n').length === SHEEP;
  });
  await dog('cluster', 'format', '-c', `${SHEEP}`);
  await dog('vdi', 'create', VOLUME, `${sizeBytes}`);
  return {
    name: 'sheepdog',
    uri: `sheepdog://127.0.0.1:${port}/${VOLUME}`,
    qemuImg: programs.qemuImg,
    fioMissing: 'only an old QEMU is its client here',
    pids,
    roles: pids.map(() => 'sheep'),
    async snapshot(tag) {
      await dog('vdi', 'snapshot', VOLUME, '-s', tag);
    },
    look: async () => void (await dog('vdi', 'list', VOLUME)),
    stop: () => daemons.stop(),
  };
}

/** One zone each: no two copies in the same sheep. */
export function sheepWords(folder: string, port: number, index: number): string[] {
  const address = ['-b', '127.0.0.1', '-y', '127.0.0.1', '-p', `${port + index}`];
  return ['-f', '-c', `local:${folder}/members`, '-z', `${index}`, ...address, `${folder}/store${index}`];
}
