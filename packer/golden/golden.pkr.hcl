# Bakes a golden image without a Proxmox VE host: felhom-golden stages a root file
# system, scripts run inside it, felhom-golden seals and packs it. Builders and
# provisioners are Packer's own, so that no plugin is needed.

packer {
  required_version = ">= 1.6.6"
}

locals {
  stamp   = formatdate("YYYY_MM_DD-hh_mm_ss", timestamp())
  root    = "${var.work_dir}/root"
  archive = "${var.output_dir}/vzdump-lxc-${var.vmid}-${local.stamp}.tar.zst"

  # Drop-in scripts in the order of their names, then those of the variable.
  scripts = concat([for f in sort(fileset(".", "scripts/*.sh")) : "${path.root}/${f}"], var.scripts)

  recipe_flag    = var.recipe == "" ? "" : "--recipe '${var.recipe}'"
  bootstrap_flag = var.bootstrap == "" ? "" : "--bootstrap '${var.bootstrap}'"
}

source "null" "golden" {
  communicator = "none"
}

build {
  name    = "golden"
  sources = ["source.null.golden"]

  provisioner "shell-local" {
    inline = [
      "set -eu",
      "rm -rf '${var.work_dir}'",
      "mkdir -p '${var.work_dir}' '${var.output_dir}'",
      "'${var.felhom_golden}' stage '${local.root}' ${local.recipe_flag} ${local.bootstrap_flag}",
    ]
  }

  # Inside the image. Packer writes the variables in front of the command;
  # felhom-golden run hands them and the script in.
  dynamic "provisioner" {
    for_each = local.scripts
    labels   = ["shell-local"]
    content {
      script           = provisioner.value
      environment_vars = var.script_env
      execute_command  = ["/bin/sh", "-c", "{{.Vars}} exec '${var.felhom_golden}' run '${local.root}' -- {{.Script}}"]
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
