import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../base/errors.js';
import type { ControlMethod, ControlParams, ControlResult } from '../control/api.js';
import { ControlClient } from '../control/client.js';
import { diagnose } from '../control/doctor.js';
import type { NbdPlace } from '../vm/domain-xml.js';
import { placesOf } from '../vm/door.js';
import type { Arrivals, HookCluster, Troubles } from '../vm/hook.js';

/** The cluster and the memory of a hook, which has little time and must not hang. */

const CONNECT_MS = 3_000;
/** Objects may have to be fetched, settled or awaited before a volume can be served. */
const CLAIM_MS = 12_000;
const ASK_MS = 3_000;
/** An arrival that never came is forgotten: what starts under its name later is an ordinary start. */
const ARRIVAL_MS = 60_000;

/** What the doctor finds when guests' requests wait, or will. */
const blockingRules: ReadonlySet<string> = new Set([
  'not-formatted',
  'shutdown',
  'data-awaited',
  'data-lost',
  'writes-wait',
]);

export class LimitedCluster implements HookCluster {
  constructor(
    private readonly address: { host: string; port: number },
    readonly ownPlace: NbdPlace,
  ) {}

  async places(): Promise<readonly NbdPlace[]> {
    return this.with(async (client) => {
      const { result: nodes } = await client.call('node.list', {}, { signal: AbortSignal.timeout(ASK_MS) });
      const up = nodes.filter((node) => node.up);
      const asked = await Promise.allSettled(
        up.map(async (node) => placesOf(node, await call(node, 'node.doors', {}, ASK_MS))),
      );
      return asked.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    });
  }

  async claim(ref: ControlParams<'vdi.claim'>): Promise<ControlResult<'vdi.claim'>> {
    try {
      return await call(this.address, 'vdi.claim', ref, CLAIM_MS);
    } catch (error) {
      if (!AppError.isCode(error, 'not-supported')) throw error;
      // A sheep of an earlier version, which is being upgraded: that it knows the volume must do.
      await call(this.address, 'vdi.info', ref, ASK_MS);
      return { here: false, users: 0 };
    }
  }

  async release(name: string): Promise<void> {
    await call(this.address, 'vdi.release', { name }, ASK_MS);
  }

  async troubles(): Promise<Troubles> {
    const situation = await call(this.address, 'cluster.doctor', {}, ASK_MS);
    // The sheep's own reports would take longer: one that has died is waited for.
    const bad = diagnose({ situation, reports: {}, clocksMs: {} }).filter(
      ({ severity }) => severity === 'bad',
    );
    const texts = (blocking: boolean) =>
      bad.filter(({ rule }) => blockingRules.has(rule) === blocking).map(({ text }) => text);
    return { blocking: texts(true), warnings: texts(false) };
  }

  private async with<T>(work: (client: ControlClient) => Promise<T>): Promise<T> {
    const client = await connect(this.address);
    try {
      return await within(ASK_MS, work(client));
    } finally {
      client.close();
    }
  }
}

async function call<M extends ControlMethod>(
  address: { host: string; port: number },
  method: M,
  params: ControlParams<M>,
  deadlineMs: number,
): Promise<ControlResult<M>> {
  const client = await connect(address);
  try {
    const signal = AbortSignal.timeout(deadlineMs);
    return (await within(deadlineMs, client.call(method, params, { signal }))).result;
  } finally {
    client.close();
  }
}

async function connect({ host, port }: { host: string; port: number }): Promise<ControlClient> {
  const connecting = ControlClient.connect({ host, port });
  try {
    return await within(CONNECT_MS, connecting);
  } catch (error) {
    connecting.then((client) => client.close()).catch(() => {});
    throw new AppError('network', `the sheep at ${host}:${port} does not answer; start it: dog cluster up`, {
      cause: error,
    });
  }
}

async function within<T>(deadlineMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(new AppError('halt', `the cluster cannot serve it now (no answer in ${deadlineMs / 1000} s)`)),
      deadlineMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One empty file for each domain that is on its way here. */
export class ArrivalFiles implements Arrivals {
  constructor(private readonly directory: string) {}

  expect(uuid: string): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    writeFileSync(this.pathOf(uuid), '');
  }

  take(uuid: string): boolean {
    const path = this.pathOf(uuid);
    const stat = statSync(path, { throwIfNoEntry: false });
    rmSync(path, { force: true });
    return stat !== undefined && Date.now() - stat.mtimeMs < ARRIVAL_MS;
  }

  private pathOf(uuid: string): string {
    if (!/^[0-9a-f-]{36}$/i.test(uuid)) throw new AppError('invalid', 'the domain has no uuid');
    return join(this.directory, uuid);
  }
}
