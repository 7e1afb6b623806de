import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { AppError } from '../../src/base/errors.js';
import type { Logger } from '../../src/base/log.js';
import type { Services } from './calls.js';
import { Passage } from './passage.js';
import { peerCredentials } from './peer-credentials.js';
import type { ReceiveBudget } from './rpc-socket.js';
import { Session } from './session.js';

export interface ListenerOptions {
  readonly path: string;
  /** Of the socket; who may write to it may connect. */
  readonly mode: number;
  /** Name or number of the group that the socket belongs to. */
  readonly group?: string;
  readonly readOnly: boolean;
  /** When given, only these users (and who runs the daemon) are let in, whatever the mode says. */
  readonly users?: readonly number[];
  /** Socket of the storage daemon that has the pools of other types. */
  readonly upstream?: string;
  readonly services: Services;
  readonly budget: ReceiveBudget;
}

const CLIENTS_MAX = 1000;
const BACKLOG = 200;
/** The socket is made under a mask, so that nobody connects before its mode is set. */
const CLOSED_MASK = 0o177;

/** One unix socket and the clients that came through it. */
export class Listener {
  private readonly sessions = new Set<Session>();
  private readonly log: Logger;

  private constructor(
    private readonly server: Server,
    private readonly options: ListenerOptions,
  ) {
    this.log = options.services.log.child('rpc', { socket: options.path });
    server.on('connection', (socket) => this.accept(socket));
  }

  /** Rejects with AppError 'invalid' when another daemon listens there, or the group is unknown. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const { path, mode, group } = options;
    mkdirSync(dirname(path), { recursive: true });
    await removeStale(path);
    const gid = group === undefined ? undefined : groupId(group);
    const server = createServer();
    const listener = new Listener(server, options);
    const mask = process.umask(CLOSED_MASK);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ path, backlog: BACKLOG }, resolve);
      });
    } finally {
      process.umask(mask);
    }
    if (gid !== undefined) chownSync(path, -1, gid);
    chmodSync(path, mode);
    return listener;
  }

  get clients(): number {
    return this.sessions.size;
  }

  /** Node removes the socket's file with the server. */
  close(): void {
    this.server.close();
    for (const session of [...this.sessions]) session.drop('the daemon ends');
  }

  private accept(socket: Socket): void {
    const peer = peerCredentials(socket);
    if (this.sessions.size >= CLIENTS_MAX || !this.isAllowed(peer?.uid)) {
      this.log.warn({ ...peer, clients: this.sessions.size }, 'client refused');
      socket.destroy();
      return;
    }
    const { services, budget, readOnly, upstream } = this.options;
    const log = services.log.child('session', { ...peer });
    log.debug({}, 'client connected');
    const session: Session = new Session(socket, {
      services,
      budget,
      readOnly,
      log,
      ...(upstream !== undefined && {
        passageFor: (owner: Session) =>
          new Passage(owner, { path: upstream, registry: services.registry, budget, log }),
      }),
      onEnd: () => this.sessions.delete(session),
    });
    this.sessions.add(session);
  }

  private isAllowed(uid: number | undefined): boolean {
    const { users } = this.options;
    if (users === undefined) return true;
    return uid !== undefined && (uid === 0 || uid === process.getuid?.() || users.includes(uid));
  }
}

/** What a daemon that died left; a living one's is not taken away. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new AppError('invalid', `${path} is there, and is no socket`);
  if (await answers(path)) throw new AppError('invalid', `another daemon listens on ${path}`);
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

/** Throws AppError 'invalid'. */
export function groupId(group: string): number {
  return lookUpId('/etc/group', group, 'group');
}

/** Throws AppError 'invalid'. */
export function userId(user: string): number {
  return lookUpId('/etc/passwd', user, 'user');
}

function lookUpId(file: string, name: string, what: string): number {
  if (/^\d{1,9}$/.test(name)) return Number(name);
  const line = readFileSync(file, 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${name}:`));
  if (line === undefined) throw new AppError('invalid', `there is no ${what} ${name}`);
  return Number(line.split(':')[2]);
}
