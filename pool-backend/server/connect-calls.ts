import { LibvirtError } from '../rpc/errors.js';
import type { Handlers } from './calls.js';

/** Features that clients ask for (virDrvFeature), and that are there. */
const Feature = { programKeepalive: 10, remoteEventCallback: 14, remoteCloseCallback: 15 } as const;
const supported: ReadonlySet<number> = new Set(Object.values(Feature));

const OPEN_READ_ONLY = 1;
/** VIR_CONNECT_NO_ALIASES: of no meaning here, but clients may send it. */
const OPEN_FLAGS = 3;
const AUTH_NONE = 0;
/** Of the release whose behaviour and texts these are: major * 1,000,000 + minor * 1,000 + release. */
const LIBVIRT_VERSION = 9_000_000n;
const DEFAULT_URI = 'storage:///system';
const STORAGE_URI = /^storage(\+unix)?:\/\/\/(system|session)(\?.*)?$/;

/** Calls about the connection itself. */
export const connectCalls: Handlers<
  | 'authList'
  | 'connectOpen'
  | 'connectClose'
  | 'connectGetType'
  | 'connectGetHostname'
  | 'connectSupportsFeature'
  | 'connectGetUri'
  | 'connectGetLibVersion'
  | 'connectIsSecure'
  | 'connectRegisterCloseCallback'
  | 'connectUnregisterCloseCallback'
  | 'connectSetIdentity'
> = {
  authList: () => ({ types: [AUTH_NONE] }),

  connectOpen({ name, flags }, { session }) {
    if (session.isOpen) throw new LibvirtError('internal', 'connection already open');
    if ((flags & ~OPEN_FLAGS) !== 0)
      throw new LibvirtError('invalid-arg', 'unsupported flags of a connection');
    const uri = name ?? DEFAULT_URI;
    if (!STORAGE_URI.test(uri)) {
      throw new LibvirtError('no-support', `no connection driver available for ${uri.slice(0, 200)}`);
    }
    session.open(uri, (flags & OPEN_READ_ONLY) !== 0);
  },

  connectClose: (_args, { session }) => session.closeAfterReply(),
  connectGetType: () => ({ type: 'storage' }),
  connectGetHostname: (_args, { services }) => ({ hostname: services.hostname }),

  connectSupportsFeature({ feature }, { session }) {
    if (feature === Feature.programKeepalive) session.keepalive.start();
    return { supported: supported.has(feature) };
  },

  connectGetUri: (_args, { session }) => ({ uri: session.uri }),
  connectGetLibVersion: () => ({ version: LIBVIRT_VERSION }),
  // A unix socket: nobody on the way can read it.
  connectIsSecure: () => ({ value: true }),
  connectRegisterCloseCallback: () => undefined,
  connectUnregisterCloseCallback: () => undefined,
  /** Another daemon of libvirt says for whom it asks. Nothing is decided by it here: who reaches the socket may ask. */
  connectSetIdentity: () => undefined,
};
