# Bakes a golden image with ordinary provisioners (shell, file, ansible) and without
# a Proxmox VE host: felhom-golden offers SSH into the staged root on loopback.

packer {
  required_version = ">= 1.6.6"
}

locals {
  stamp   = formatdate("YYYY_MM_DD-hh_mm_ss", timestamp())
  root    = "${var.work_dir}/root"
  archive = "${var.output_dir}/vzdump-lxc-${var.vmid}-${local.stamp}.tar.zst"

  # Once per run: the server and Packer's client agree on it.
  password = uuidv4()

  scripts = concat([for f in sort(fileset(".", "scripts/*.sh")) : "${path.root}/${f}"], var.scripts)

  recipe_flag    = var.recipe == "" ? "" : "--recipe '${var.recipe}'"
  bootstrap_flag = var.bootstrap == "" ? "" : "--bootstrap '${var.bootstrap}'"
}

source "null" "base" {
  communicator = "none"
}

source "null" "image" {
  communicator             = "ssh"
  ssh_host                 = "127.0.0.1"
  ssh_port                 = var.port
  ssh_username             = "root"
  ssh_password             = local.password
  ssh_timeout              = "2m"
  ssh_file_transfer_method = "sftp" # the image needs no scp
}

# It comes first: with -parallel-builds=1 Packer follows the order here.
build {
  name    = "base"
  sources = ["source.null.base"]

  provisioner "shell-local" {
    # In the script and not in environment_vars, which Packer puts into
    # arguments that everyone on the machine can read. The server ends with
    # Packer itself, which is the parent of our parent.
    inline = [
      "set -eu",
      "export FELHOM_GOLDEN_PASSWORD='${local.password}'",
      "packer_pid=$(awk '/^PPid:/ {print $2}' /proc/$PPID/status)",
      "rm -rf '${var.work_dir}'",
      "mkdir -p '${var.work_dir}' '${var.output_dir}'",
      "'${var.felhom_golden}' serve '${local.root}' --port ${var.port} --watch-pid $packer_pid -- '${var.felhom_golden}' stage '${local.root}' ${local.recipe_flag} ${local.bootstrap_flag}",
    ]
  }
}

build {
  name    = "image"
  sources = ["source.null.image"]

  # A file provisioner first: when staging failed, it fails at once, where a
  # shell provisioner tries again for start_retry_timeout.
  provisioner "file" {
    source      = "${path.root}/felhom" # becomes /usr/local/share/felhom
    destination = "/usr/local/share"
  }

  dynamic "provisioner" {
    for_each = local.scripts
    labels   = ["shell"]
    content {
      script              = provisioner.value
      environment_vars    = var.script_env
      start_retry_timeout = "10s"
    }
  }

  dynamic "provisioner" {
    for_each = var.playbooks
    labels   = ["ansible"]
    content {
      playbook_file = provisioner.value
      user          = "root"
      extra_arguments = [
        "-e", "ansible_remote_tmp=/tmp/.ansible",
      ]
      # The proxy of Packer 1.6.6 offers ssh-rsa only; it does no harm on others.
      # Its key is new each time: no use in remembering it. Packer would have Ansible use scp, which the image does not have.
      ansible_env_vars = [
        "ANSIBLE_SSH_ARGS=-oHostKeyAlgorithms=+ssh-rsa -oPubkeyAcceptedKeyTypes=+ssh-rsa -oUserKnownHostsFile=/dev/null",
        "ANSIBLE_SSH_TRANSFER_METHOD=sftp",
      ]
    }
  }

  # Seals, packs, and lets the archive appear once it has passed verify.
  provisioner "shell-local" {
    inline = [
      "set -eu",
      "'${var.felhom_golden}' pack '${local.root}' '${local.archive}'",
      "rm -rf '${var.work_dir}'",
    ]
  }

  post-processors {
    post-processor "artifice" {
      files = [local.archive]
    }
    post-processor "checksum" {
      checksum_types      = ["sha256"]
      output              = "${local.archive}.{{.ChecksumType}}sum"
      keep_input_artifact = true
    }
    post-processor "manifest" {
      output     = "${var.output_dir}/packer-manifest.json"
      strip_path = true
      custom_data = {
        vmid = "${var.vmid}"
      }
    }
  }
}
