#!/bin/bash
# ops-service: {{ service }}
# Runs the service {{ name }} as a container, on Amazon Linux 2023. Secrets are looked up in SSM whenever it starts, with the role of
# the instance, and are not in this text.
set -euo pipefail
{%- if notice_topic %}

notify() {
  aws sns publish --region '{{ region }}' --topic-arn '{{ notice_topic }}' --subject "$1" --message "$2" >/dev/null
}
# That it is ready is said at the end, and only then; that it failed, wherever this script ends.
trap '[ "$?" = 0 ] || notify "{{ name }} did not start" "The instance $(hostname) has not started {{ name }}: see /var/log/cloud-init-output.log there." || true' EXIT
{%- endif %}

# A new instance has its network a moment before its package mirrors answer.
for attempt in 1 2 3 4 5; do
  if dnf install -y docker; then break; fi
  if [ "$attempt" = 5 ]; then echo "docker could not be installed" >&2; exit 1; fi
  sleep 10
done
systemctl enable --now docker

install -d -m 0700 /etc/{{ name }}
# A rollout replaces this file, and `image.previous` beside it is what it went away from.
if [ ! -e /etc/{{ name }}/image ]; then
  printf '%s\n' '{{ image }}' > /etc/{{ name }}/image
fi

cat > /etc/{{ name }}/start <<'START'
#!/bin/bash
# Starts a container of the image that is named in the file beside this one; fails while a secret is not there yet.
set -euo pipefail
umask 077
environment=/run/{{ name }}.env
# Values are taken as they are, whatever they hold.
# shellcheck disable=SC2016
{
  printf '%s=%q\n' LISTEN '0.0.0.0:{{ port }}'
{%- for variable in plain %}
  printf '%s=%q\n' {{ variable.key }} {{ variable.quoted }}
{%- endfor %}
} > "$environment.new"
{%- for variable in references %}
value=$(aws ssm get-parameter --region '{{ region }}' --name '{{ variable.path }}' --with-decryption --query Parameter.Value --output text)
printf '%s=%q\n' {{ variable.key }} "$value" >> "$environment.new"
{%- endfor %}
mv "$environment.new" "$environment"
# The values go from this shell's environment to the container: a certificate has many lines, and no argument shows them.
set -a
# shellcheck source=/dev/null
. "$environment"
set +a
docker rm -f {{ name }} >/dev/null 2>&1 || true
exec docker run "$@" --name {{ name }} --publish {{ port }}:{{ port }} \
  --env LISTEN{% for variable in plain %} --env {{ variable.key }}{% endfor %}{% for variable in references %} --env {{ variable.key }}{% endfor %} \
  "$(cat /etc/{{ name }}/image)"
START
chmod 0700 /etc/{{ name }}/start

cat > /etc/systemd/system/{{ name }}.service <<'UNIT'
[Unit]
Description={{ name }}
After=docker.service network-online.target
Requires=docker.service
Wants=network-online.target
# It is started again and again until its secrets are there.
StartLimitIntervalSec=0

[Service]
ExecStart=/etc/{{ name }}/start
ExecStop=/usr/bin/docker stop -t 70 {{ name }}
TimeoutStopSec=90
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now {{ name }}.service
{%- if notice_topic %}

for _ in {1..180}; do
  if curl --silent --fail --max-time 3 --output /dev/null 'http://127.0.0.1:{{ port }}{{ health }}'; then
    notify "{{ name }} is ready" "The instance $(hostname) runs {{ name }} and is ready."
    exit 0
  fi
  sleep 5
done
echo "{{ name }} is not ready after 15 minutes" >&2
exit 1
{%- endif %}
