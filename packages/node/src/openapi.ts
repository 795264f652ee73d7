import * as z from 'zod'
import { COMMANDS, type CommandSpec } from './command.ts'

/** OpenAPI 3.1 of the admin interface, made from the commands: one `POST` for each. */
export function openApiDocument(version: string): object {
  const paths: Record<string, object> = {}
  for (const [name, spec] of Object.entries<CommandSpec>(COMMANDS)) {
    paths[`/v1/commands/${name}`] = { post: operationOf(name, spec) }
  }
  const text = { content: { 'text/plain': { schema: { type: 'string' } } } }
  const probe = (summary: string): object => ({
    get: {
      summary,
      responses: {
        200: { description: 'yes', ...text },
        503: { description: 'no', ...text },
      },
    },
  })
  return {
    openapi: '3.1.0',
    info: {
      title: 'mycelium admin interface',
      version,
      description: 'Whoever may use this socket may do everything on this node, as root may.',
    },
    paths: {
      ...paths,
      '/livez': probe('Does the daemon live?'),
      '/readyz': probe('Does it serve? With ?verbose each check on a line.'),
      '/metrics': {
        get: {
          summary: 'OpenMetrics',
          responses: {
            200: {
              description: 'all metrics',
              content: { [METRICS_TYPE]: { schema: { type: 'string' } } },
            },
          },
        },
      },
    },
    components: { schemas: { Error: ERROR_SCHEMA } },
  }
}

export const METRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

const ERROR_SCHEMA = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message'],
      properties: { code: { type: 'string' }, message: { type: 'string' } },
    },
  },
}

function operationOf(name: string, { summary, authority, input, output }: CommandSpec): object {
  const json = (schema: object): object => ({ content: { 'application/json': { schema } } })
  const error = json({ $ref: '#/components/schemas/Error' })
  return {
    operationId: name,
    summary,
    tags: [authority],
    requestBody: { required: true, ...json(z.toJSONSchema(input, { io: 'input' })) },
    responses: {
      200: { description: 'done', ...json(z.toJSONSchema(output)) },
      400: { description: 'the request makes no sense', ...error },
      409: { description: 'somebody else holds or changed what was asked for', ...error },
      500: { description: 'it was tried and did not succeed', ...error },
      503: { description: 'not ready, or the other side cannot be reached', ...error },
    },
  }
}
